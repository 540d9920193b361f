#include "store/environments.hpp"

#include "runner/core/error.hpp"
#include "store/history_rows.hpp"
#include "store/record_json.hpp"

namespace runner::store {
namespace {

constexpr std::size_t kLeastDigits = 4;

constexpr const char* kEnvironmentColumns = "digest, kind, specification, identity, created, lock";
constexpr const char* kVersionColumns = "name, version, definition, content, created";

StoredEnvironment environment_of(const Query& row) {
  StoredEnvironment environment{.digest = row.hash(0),
                                .kind = row.string(1),
                                .specification = row.string(2),
                                .identity = row.string(3),
                                .created = row.time(4)};
  if (!row.is_null(5)) environment.lock = row.hash(5);
  return environment;
}

RegisteredEnvironment version_of(const Query& row) {
  return {.name = row.string(0),
          .version = row.integer(1),
          .definition = row.string(2),
          .content = row.hash(3),
          .created = row.time(4)};
}

EnvironmentBuild build_of(const Query& row) {
  EnvironmentBuild build{.id = row.integer(0),
                         .environment = row.hash(1),
                         .lock = row.hash(2),
                         .directory = row.string(3),
                         .interpreter = row.string(4)};
  if (!row.is_null(5)) build.fingerprint = row.hash(5);
  build.variables = variables_from_json(row.text(6));
  build.image = row.string(7);
  build.engine = row.string(8);
  build.bytes = row.integer(9);
  build.created = row.time(10);
  build.used = row.time(11);
  return build;
}

void insert_lock(Connection& connection, const Hash& digest, const std::string& content) {
  connection.run("INSERT INTO environment_lock(digest, content) VALUES (?, ?) ON CONFLICT DO NOTHING", digest, content);
}

std::optional<RegisteredEnvironment> one_version(Query query) {
  if (!query.next()) return std::nullopt;
  return version_of(query);
}

}  // namespace

void Environments::add(const StoredEnvironment& environment) {
  if (find(environment.digest)) return;
  history_.impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    connection.run(
        "INSERT INTO environment(digest, kind, specification, identity, created) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        environment.digest, environment.kind, environment.specification, environment.identity, environment.created);
  });
}

void Environments::add_lock(const Hash& digest, const std::string& content) {
  if (lock(digest)) return;
  history_.impl_->database.write(Sync::kDurable,
                                 [&](Connection& connection) { insert_lock(connection, digest, content); });
}

std::optional<StoredEnvironment> Environments::find(const Hash& digest) const {
  const auto reader = history_.impl_->database.read();
  Query query =
      reader->query(std::string("SELECT ") + kEnvironmentColumns + " FROM environment WHERE digest = ?", digest);
  if (!query.next()) return std::nullopt;
  return environment_of(query);
}

std::optional<std::string> Environments::lock(const Hash& digest) const {
  const auto reader = history_.impl_->database.read();
  Query query = reader->query("SELECT content FROM environment_lock WHERE digest = ?", digest);
  if (!query.next()) return std::nullopt;
  return query.string(0);
}

std::vector<StoredEnvironment> Environments::all() const {
  const auto reader = history_.impl_->database.read();
  std::vector<StoredEnvironment> found;
  Query query = reader->query(std::string("SELECT ") + kEnvironmentColumns + " FROM environment ORDER BY created DESC");
  while (query.next()) found.push_back(environment_of(query));
  return found;
}

std::optional<Hash> Environments::resolve(const std::string& prefix) const {
  if (prefix.size() < kLeastDigits || prefix.size() > 64 ||
      prefix.find_first_not_of("0123456789abcdef") != std::string::npos)
    return std::nullopt;
  if (const auto whole = Hash::from_hex(prefix)) return find(*whole) ? whole : std::nullopt;
  const auto reader = history_.impl_->database.read();
  std::vector<Hash> found;
  Query query = reader->query("SELECT digest FROM environment WHERE lower(hex(digest)) LIKE ? LIMIT 11", prefix + "%");
  while (query.next()) found.push_back(query.hash(0));
  if (found.empty()) return std::nullopt;
  if (found.size() > 1) {
    std::string list;
    for (const Hash& one : found) list += (list.empty() ? "" : ", ") + one.hex().substr(0, 16);
    throw Error(ErrorCode::kInvalid, "\"" + prefix + "\" names more than one environment: " + list,
                "give more of the digest");
  }
  return found.front();
}

std::int64_t Environments::publish(EnvironmentBuild build, const std::string& lock, bool solution) {
  const std::string variables = to_json(build.variables);
  std::int64_t id = 0;
  history_.impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    insert_lock(connection, build.lock, lock);
    connection.run(
        "INSERT INTO environment_build(environment, lock, directory, interpreter, fingerprint, variables, image, "
        "engine,"
        " bytes, created, used) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        build.environment, build.lock, build.directory, build.interpreter, build.fingerprint, variables, build.image,
        build.engine, build.bytes, build.created, build.used);
    id = connection.last_insert_id();
    if (solution) connection.run("UPDATE environment SET lock = ?2 WHERE digest = ?1", build.environment, build.lock);
  });
  return id;
}

std::vector<EnvironmentBuild> Environments::builds(const std::optional<Hash>& environment) const {
  const auto reader = history_.impl_->database.read();
  std::vector<EnvironmentBuild> found;
  Query query = reader->query(
      "SELECT id, environment, lock, directory, interpreter, fingerprint, variables, image, engine, bytes, created, "
      "used"
      " FROM environment_build WHERE ?1 IS NULL OR environment = ?1 ORDER BY id DESC",
      environment);
  while (query.next()) found.push_back(build_of(query));
  return found;
}

void Environments::forget_build(std::int64_t id) {
  history_.impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    connection.run("DELETE FROM environment_build WHERE id = ?", id);
  });
}

void Environments::touch(std::int64_t id, UtcTime used) {
  history_.impl_->database.write(Sync::kRelaxed, [&](Connection& connection) {
    connection.run("UPDATE environment_build SET used = max(used, ?2) WHERE id = ?1", id, used);
  });
}

Environments::Registration Environments::add_version(const std::string& name, const std::string& definition,
                                                     const Hash& content, UtcTime now) {
  Registration registration{};
  history_.impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    registration = {};
    std::int64_t last = 0;
    {
      Query query = connection.query("SELECT coalesce(max(version), 0) FROM environment_version WHERE name = ?", name);
      if (query.next()) last = query.integer(0);
    }
    if (auto newest = one_version(connection.query(std::string("SELECT ") + kVersionColumns +
                                                       " FROM environment_version WHERE name = ? AND deleted = 0"
                                                       " ORDER BY version DESC LIMIT 1",
                                                   name));
        newest && newest->content == content) {
      registration = {.environment = std::move(*newest), .existed = true};
      return;
    }
    connection.run(
        "INSERT INTO environment_version(name, version, definition, content, created) VALUES (?, ?, ?, ?, ?)", name,
        last + 1, definition, content, now);
    registration = {.environment = {.name = name,
                                    .version = last + 1,
                                    .definition = definition,
                                    .content = content,
                                    .created = now},
                    .existed = false};
  });
  return registration;
}

std::optional<RegisteredEnvironment> Environments::version(const std::string& name,
                                                           std::optional<std::int64_t> version) const {
  const auto reader = history_.impl_->database.read();
  return one_version(reader->query(std::string("SELECT ") + kVersionColumns +
                                       " FROM environment_version WHERE name = ?1 AND deleted = 0"
                                       " AND (?2 IS NULL OR version = ?2) ORDER BY version DESC LIMIT 1",
                                   name, version));
}

std::vector<RegisteredEnvironment> Environments::versions(const std::optional<std::string>& name) const {
  const auto reader = history_.impl_->database.read();
  std::vector<RegisteredEnvironment> found;
  Query query = reader->query(std::string("SELECT ") + kVersionColumns +
                                  " FROM environment_version WHERE deleted = 0 AND (?1 IS NULL OR name = ?1)"
                                  " ORDER BY name, version DESC",
                              name);
  while (query.next()) found.push_back(version_of(query));
  return found;
}

std::optional<RegisteredEnvironment> Environments::version_with(const Hash& content) const {
  const auto reader = history_.impl_->database.read();
  return one_version(reader->query(std::string("SELECT ") + kVersionColumns +
                                       " FROM environment_version WHERE content = ? AND deleted = 0"
                                       " ORDER BY created, name LIMIT 1",
                                   content));
}

std::int64_t Environments::remove_version(const std::string& name, std::optional<std::int64_t> version) {
  std::int64_t removed = 0;
  history_.impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    removed = connection.run(
        "UPDATE environment_version SET deleted = 1 WHERE name = ?1 AND deleted = 0 AND (?2 IS NULL OR version = ?2)",
        name, version);
  });
  return removed;
}

}  // namespace runner::store
