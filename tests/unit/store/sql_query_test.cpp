// What a query may: the views and nothing else, for a while and no longer.
#include "store/sql_query.hpp"

#include "fixture.hpp"
#include "metric_records.hpp"
#include "store/history.hpp"
#include "store/sql_text.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

struct Asked {
  TemporaryDirectory directory;
  std::filesystem::path file = directory / "runner.db";
  History history{file};
  SqlLimits limits{};

  Asked() {
    for (const char* id : {"train_1_0000000a", "train_1_0000000b"}) {
      RunRecord run = sample_run(id);
      run.definition.arguments = {"--lr", "0.1"};
      run.tags = {{"quality", "good"}};
      run.idempotency_key = id;
      history.add_run(run);
      history.add_metrics(id, std::vector<MetricRecord>{point("loss", 0.5), point("loss", std::int64_t{1})}, 1);
    }
  }
  SqlAnswer operator()(const std::string& query) { return answer_sql(file, query, limits); }
  ErrorCode refusal(const std::string& query) {
    INFO(query);
    return error_of([&] { (*this)(query); }).code();
  }
};

using Row = std::vector<SqlCell>;

}  // namespace

TEST_CASE("a SELECT over the views answers with columns and values as they are") {
  Asked sql;
  const SqlAnswer answer =
      sql("SELECT r.run, r.created, t.value, p.number, m.max FROM runs r JOIN tags t USING (run)"
          " JOIN parameters p USING (run) JOIN metrics m USING (run) ORDER BY r.run LIMIT 1");
  CHECK(answer.columns == std::vector<std::string>{"run", "created", "value", "number", "max"});
  CHECK(answer.rows == std::vector<Row>{{std::string("train_1_0000000a"), std::string("2023-11-14T22:13:20.000000Z"),
                                         std::string("good"), 0.1, 1.0}});
  CHECK(sql("SELECT NULL, x'00ff', 1").rows ==
        std::vector<Row>{{std::monostate{}, SqlBlob{std::string("\0\xff", 2)}, std::int64_t{1}}});
  CHECK(sql("SELECT 1 AS a, 2 AS a").columns == std::vector<std::string>{"a", "a:1"});
  CHECK(sql("SELECT value FROM runs, json_each(runs.arguments)").rows.size() == 4);
  for (const std::string& view : sql_views()) CHECK_NOTHROW(sql("SELECT * FROM " + view));
}

TEST_CASE("rows beyond the limit are said to be there") {
  Asked sql;
  sql.limits.rows = 2;
  CHECK_FALSE(sql("SELECT run FROM runs").truncated);
  sql.limits.rows = 1;
  const SqlAnswer answer = sql("SELECT run FROM runs;  -- and nothing else");
  CHECK(answer.truncated);
  CHECK(answer.rows.size() == 1);
}

TEST_CASE("no query writes, opens another file or changes the connection") {
  Asked sql;
  for (const char* query : {"UPDATE run SET name = 'x'",
                            "INSERT INTO tag VALUES (1, 'a', 'b')",
                            "REPLACE INTO tag VALUES (1, 'a', 'b')",
                            "DELETE FROM run",
                            "CREATE TABLE t(a)",
                            "CREATE TEMP TABLE t(a)",
                            "DROP VIEW runs",
                            "ALTER TABLE run ADD COLUMN x",
                            "ATTACH ':memory:' AS x",
                            "DETACH main",
                            "PRAGMA user_version",
                            "PRAGMA query_only=OFF",
                            "BEGIN",
                            "SAVEPOINT s",
                            "VACUUM INTO '/tmp/nothing'",
                            "ANALYZE",
                            "REINDEX",
                            "EXPLAIN SELECT 1",
                            "SELECT load_extension('x')",
                            "SELECT sqlite_compileoption_get(0)",
                            "SELECT * FROM pragma_database_list",
                            "SELECT * FROM dbstat"})
    CHECK(sql.refusal(query) == ErrorCode::kPermission);
  CHECK(sql("SELECT count(*) FROM runs").rows == std::vector<Row>{{std::int64_t{2}}});
}

TEST_CASE("no query reads what is behind the views, whatever it calls itself") {
  Asked sql;
  for (const char* query :
       {"SELECT idempotency_key FROM run", "SELECT rowid FROM run", "SELECT * FROM sqlite_schema",
        "SELECT sql FROM sqlite_temp_schema", "WITH runs AS (SELECT definition FROM submission) SELECT * FROM runs",
        "WITH inner_runs AS (SELECT * FROM run) SELECT * FROM inner_runs", "SELECT id FROM main.run_text",
        "SELECT run FROM runs UNION SELECT id FROM run", "SELECT (SELECT id FROM run LIMIT 1)",
        "SELECT run FROM runs ORDER BY (SELECT idempotency_key FROM main.run LIMIT 1)"})
    CHECK(sql.refusal(query) == ErrorCode::kPermission);
  CHECK(sql("WITH run AS (SELECT 'forged' AS id) SELECT run FROM runs ORDER BY run LIMIT 1").rows ==
        std::vector<Row>{{std::string("train_1_0000000a")}});
}

TEST_CASE("what is no single SELECT is told in SQLite's words") {
  Asked sql;
  for (const char* query : {"", " ; -- nothing", "SELEKT", "SELECT nosuch FROM runs", "SELECT * FROM nosuch",
                            "SELECT 1; SELECT 2", "SELECT \"nosuch\" FROM runs", "SELECT ?1"})
    CHECK(sql.refusal(query) == ErrorCode::kInvalid);
  CHECK(sql.refusal(std::string("SELECT 1\0", 9)) == ErrorCode::kInvalid);
  CHECK(error_of([&] { sql("SELECT nosuch FROM runs"); }).message() == "sql: no such column: nosuch");
}

TEST_CASE("a query ends with its time, its memory, its answer or when nobody wants it any more") {
  Asked sql;
  const std::string endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) ";
  sql.limits.time = std::chrono::milliseconds(50);
  CHECK(error_of([&] { sql(endless + "SELECT max(n) FROM c"); }).message() == "sql: the query takes longer than 0 s");
  sql.limits = {};
  sql.limits.memory_bytes = 8 << 20;
  CHECK_THROWS_WITH(sql(endless + "SELECT n, zeroblob(1000) AS z FROM c ORDER BY random()"),
                    Catch::Contains("MB of memory"));
  sql.limits = {};
  sql.limits.rows = 100'000;
  sql.limits.answer_bytes = 1 << 20;
  CHECK_THROWS_WITH(sql(endless + "SELECT hex(zeroblob(10000)) FROM c"), Catch::Contains("the answer is larger"));
  sql.limits = {};
  sql.limits.go_on = [] { return false; };
  CHECK(sql.refusal(endless + "SELECT max(n) FROM c") == ErrorCode::kUnavailable);
  sql.limits = {};
  CHECK_THROWS_WITH(sql("SELECT randomblob(300000)"), Catch::Contains("too big"));
}

TEST_CASE("what SQLite would copy without end is refused before it sees it") {
  std::string doubled = "WITH a0 AS (SELECT 1)";
  for (int i = 1; i < 15; ++i) {
    const std::string before = "a" + std::to_string(i - 1);
    doubled += ", a" + std::to_string(i) + " AS NOT MATERIALIZED (SELECT 1 FROM " + before + ", [" + before + "] b)";
  }
  CHECK_THROWS_WITH(check_sql_text(doubled + " SELECT * FROM a14"), Catch::Contains("too often"));
  CHECK_THROWS_WITH(check_sql_text("SELECT " + std::string(41, '(') + "1"), Catch::Contains("parentheses"));
  CHECK_THROWS_WITH(check_sql_text(std::string(70'000, ' ')), Catch::Contains("longer"));
  std::string many = "WITH x0(a, b) AS (SELECT 1, 2)";
  for (int i = 1; i < 17; ++i) many += ", x" + std::to_string(i) + "(a) AS (SELECT 1)";
  CHECK_THROWS_WITH(check_sql_text(many + " SELECT 1"), Catch::Contains("more than 16"));
  CHECK_NOTHROW(check_sql_text("SELECT ')' || \"(\" /* ((( */ -- (((\n FROM a WHERE CAST(b AS TEXT) = (1)"));
  CHECK_NOTHROW(
      check_sql_text("WITH a AS (SELECT 1 AS x), b AS (SELECT a.x FROM a JOIN a c ON a.x = c.x) SELECT * FROM b"));
}

TEST_CASE("a text that is longer than a query may hold is NULL, and ends no query") {
  Asked sql;
  const std::string too_long(300'000, 'x');
  RunRecord run = sample_run("train_1_0000000c");
  run.name = run.status_reason = too_long;
  run.definition.arguments = {"--text", too_long};
  run.tags = {{"long", too_long}, {"most", std::string(200'000, 'y')}};
  run.properties = {{"long", too_long}};
  sql.history.add_run(run);
  sql.history.add_metrics(
      run.id,
      std::vector<MetricRecord>{point("loss", too_long), point("loss", 2.5),
                                row("cells", {"a"}, R"({"a":")" + too_long + "\"}"), row("cells", {"a"}, R"({"a":1})")},
      1);
  const std::string of = " WHERE run = 'train_1_0000000c'";
  const Row none{std::monostate{}};
  for (const char* column : {"name", "status_reason", "script", "arguments"})
    CHECK(sql(std::string("SELECT ") + column + " FROM runs" + of).rows == std::vector<Row>{none});
  CHECK(sql("SELECT key, length(value) FROM tags" + of + " ORDER BY key").rows ==
        std::vector<Row>{{std::string("long"), std::monostate{}}, {std::string("most"), std::int64_t{200'000}}});
  CHECK(sql("SELECT value FROM properties" + of).rows == std::vector<Row>{none});
  CHECK(sql("SELECT * FROM parameters" + of).rows.empty());  // long ones are none: parameters.hpp
  CHECK(sql("SELECT value FROM metric_points" + of + " ORDER BY number").rows == std::vector<Row>{none, {2.5}});
  CHECK(sql("SELECT cells IS NULL FROM metric_rows" + of + " ORDER BY number").rows ==
        std::vector<Row>{{std::int64_t{1}}, {std::int64_t{0}}});
  // However the rows are read: whole, grouped, sorted, joined, in windows.
  for (const std::string& view : sql_views()) CHECK_NOTHROW(sql("SELECT * FROM " + view));
  for (const char* view : {"tags", "properties", "parameters", "metric_points"}) {
    const std::string from = std::string(" FROM ") + view;
    for (const char* query : {"SELECT value, count(*)%s GROUP BY value ORDER BY value", "SELECT DISTINCT value%s",
                              "SELECT run, max(value), min(value), group_concat(value)%s GROUP BY run",
                              "SELECT run, row_number() OVER (PARTITION BY value ORDER BY run)%s",
                              "SELECT a.run FROM (SELECT *%s) a JOIN runs b ON a.value = b.name",
                              "SELECT count(*)%s WHERE value LIKE '%%x' OR value > 3"}) {
      std::string text(query);
      text.replace(text.find("%s"), 2, from);
      INFO(text);
      CHECK_NOTHROW(sql(text));
    }
  }
  // What a query makes is bounded as before, also behind such a text.
  CHECK_THROWS_WITH(sql("SELECT value, randomblob(300000) FROM tags" + of), Catch::Contains("too big"));
  CHECK_THROWS_WITH(sql("SELECT lift() FROM tags"), Catch::Contains("no such function"));
}
