#include "runner/cli/history_arguments.hpp"

#include <cstdint>

#include "runner/cli/parser_handle.hpp"

namespace runner::cli {
namespace {

constexpr std::int64_t kMostRows = 100'000;        // what the daemon answers at most
constexpr std::int64_t kMostRuns = 1'000'000'000;  // of counts; a bound only so that the message is a short one

}  // namespace

void define(CLI::App& app, ListOptions& o) {
  add_text(app, "-e,--experiment", o.experiment, "NAME", "only of this experiment");
  auto* last =
      app.add_option("--last", o.last, "how many (10)")->type_name("N")->check(CLI::Range(std::int64_t{1}, kMostRuns));
  app.add_flag("--all", o.all, "all of them")->excludes(last);
  add_text(app, "--next-token", o.next_token, "TOKEN", "the page behind the one that ended with it ('nextToken')");
  add_text(app, "--status", o.status, "STATUS", "only with this status");
  add_text(app, "--kind", o.kind, "KIND", "only of this kind: script, child or interactive");
  add_list(app, "--tag", o.tags, "K[=V]", "only with this tag");
  add_list(app, "--property", o.properties, "K[=V]", "only with this property");
  add_list(app, "--param", o.parameters, "K[OP V]", "only with this parameter of the script: lr, 'lr>=0.1', opt=adam");
  add_list(app, "--metric", o.metrics, "NAME[.min|.max][OP V]",
           "only with this metric, or its last, least or greatest value: loss, 'acc>0.9', 'loss.min<0.1'");
  add_text(app, "--text", o.text, "TEXT", "only with this in id, name, script or a tag; three letters or more");
  add_text(app, "--parent", o.parent, "RUN", "only children of this run");
  add_text(app, "--since", o.since, "T", "only created since: 2h, 1d or an ISO 8601 time");
  add_text(app, "--until", o.until, "T", "only created until then");
  app.add_flag("--recursive", o.recursive, "with --parent: its children's children, too");
  app.add_flag("--children", o.children, "child runs, too");
  app.footer(
      "Every condition is to hold. OP is one of = != < <= > >=; what is a number is compared with numbers.\n\n"
      "  runner run list --param 'lr<=0.01' --metric 'loss.min<0.1' --tag quality=good");
}

void define(CLI::App& app, DiffOptions& o) {
  app.add_option("before", o.before, "id, a unique prefix, the 8-hex tail, or @last")->type_name("A")->required();
  app.add_option("after", o.after, "the run that is compared with it")->type_name("B")->required();
  auto* parts = app.add_option_group("parts", "one of them; without any a summary of all");
  const auto add_part = [&o, parts](const char* flag, DiffPart part, const char* help) {
    parts->add_flag_function(
        flag, [&o, part](std::int64_t) { o.part = part; }, help);
  };
  add_part("--code", DiffPart::kCode, "the unified diff of the snapshots, as git's");
  add_part("--params", DiffPart::kParameters, "parameters, script, limits, variables, mounts");
  add_part("--metrics", DiffPart::kMetrics, "last, least and greatest values");
  add_part("--env", DiffPart::kEnvironment, "interpreter, image and the packages of the lock");
  add_part("--git", DiffPart::kGit, "where the code came from");
  add_part("--machine", DiffPart::kMachine,
           "what they were accepted on: host, system, kernel, processor, memory, driver; the GPUs that they had");
  parts->require_option(0, 1);
  app.add_flag("--all", o.all, "what is the same, too");
}

void define(CLI::App& app, MetricsOptions& o) {
  add_run(app, o.run);
  add_text(app, "--name", o.name, "NAME", "every point of this metric");
  auto* most = app.add_option("--max-points", o.max_points, "with --name: no more than so many, evenly spaced")
                   ->type_name("K")
                   ->check(CLI::Range(std::int64_t{1}, kMostRuns))
                   ->needs("--name");
  app.add_flag("--system", o.system,
               "what the run uses of the machine, sampled every second, instead of what it logged")
      ->excludes(most);
}

void define(CLI::App& app, ChildrenOptions& o) {
  add_run(app, o.run);
  app.add_flag("--recursive", o.recursive, "their children, too, as a tree");
  add_text(app, "--status", o.status, "STATUS", "only with this status");
  add_text(app, "--kind", o.kind, "KIND", "only of this kind: script or child");
  add_list(app, "--tag", o.tags, "K[=V]", "only with this tag");
  add_list(app, "--property", o.properties, "K[=V]", "only with this property");
}

void define(CLI::App& app, DeleteOptions& o) {
  add_runs(app, o.runs);
  app.add_flag("-y,--yes", o.yes, "also the runs below them, without a question");
  app.footer(
      "The runs below a run go with it: a terminal is asked first, elsewhere --yes says so. What no other run needs "
      "is\n"
      "freed on the disk at once. The ledger keeps an entry of each run, without its content ('runner fsck').\n\n"
      "  runner run delete @last-1 @last");
}

void define(CLI::App& app, SqlOptions& o) {
  app.add_option("query", o.query, "one SELECT over the documented views; '-' reads it from standard input")
      ->type_name("QUERY")
      ->required();
  app.add_option("--limit", o.limit, "no more rows than this (1000)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, kMostRows));
  app.footer(
      "The views, with their columns, are in docs/sql.md: runs, tags, properties, parameters, metrics, metric_points,\n"
      "metric_rows, artifacts, notices, attempts, environments, experiments, ledger. Nothing can be written.\n\n"
      "  runner sql \"SELECT experiment, count(*) AS runs FROM runs GROUP BY experiment\"");
}

void define(CLI::App& app, BackupOptions& o) {
  app.add_option("file", o.file,
                 "where to; a tar archive. A file of that name is replaced when the new one is complete")
      ->type_name("FILE")
      ->required();
  app.footer(
      "Runs go on meanwhile. To restore it, extract it into an empty directory and use that as the home:\n\n"
      "  mkdir -m 700 DIR && tar -xf FILE -C DIR && runner --home DIR run list");
}

void define(CLI::App& app, TensorboardOptions& o) {
  add_runs(app, o.runs);
  app.add_flag("--metrics", o.metrics, "write event files of the logged metrics, and end");
  add_text(app, "--directory", o.directory, "DIR",
           "where the event files go and stay (a temporary directory; with --metrics: tensorboard)");
  app.add_option("--port", o.port, "of the web page (TensorBoard's)")->type_name("N")->check(CLI::Range(0, 65535));
  app.footer(
      "Shows the event files that runs have left under logs/ in an installed TensorBoard; those of a run that lives\n"
      "are there once it has ended.\n\n"
      "  runner tensorboard @last-1 @last\n"
      "  runner tensorboard --metrics @last --directory curves && tensorboard --logdir curves");
}

}  // namespace runner::cli
