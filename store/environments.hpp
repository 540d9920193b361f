// Environments in runner.db: specifications, locks, what is built, what is registered. Documents are opaque here
// (envs/ reads and writes them). Writes are durable unless a comment says otherwise. Any thread. Errors as in
// history.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/time.hpp"
#include "store/history.hpp"

namespace runner::store {

struct StoredEnvironment {
  Hash digest;
  std::string kind;
  std::string specification;  // JSON
  std::string identity;       // the text whose SHA-256 `digest` is
  UtcTime created{};
  std::optional<Hash> lock{};  // what it means now: of the last solution
};

struct EnvironmentBuild {
  std::int64_t id = 0;
  Hash environment;
  Hash lock;
  std::string directory{};    // its name in the data directory's envs/; empty: an image only
  std::string interpreter{};  // absolute path
  std::optional<Hash> fingerprint{};
  std::map<std::string, std::string> variables{};
  std::string image{};
  std::string engine{};
  std::int64_t bytes = 0;  // on disk
  UtcTime created{};
  UtcTime used{};  // by a run, last
};

struct RegisteredEnvironment {
  std::string name;
  std::int64_t version = 0;  // from 1
  std::string definition;    // JSON
  Hash content;
  UtcTime created{};
};

class Environments {
 public:
  explicit Environments(History& history) : history_(history) {}

  // Writes what is not there yet; a known digest costs a look.
  void add(const StoredEnvironment& environment);
  void add_lock(const Hash& digest, const std::string& content);
  std::optional<StoredEnvironment> find(const Hash& digest) const;
  std::optional<std::string> lock(const Hash& digest) const;
  std::vector<StoredEnvironment> all() const;  // newest first
  // At least four hex digits of a digest. Nothing: unknown. Error(kInvalid) naming the candidates of an ambiguous one.
  std::optional<Hash> resolve(const std::string& prefix) const;

  // The lock and the build in one transaction; `build.id` is given here. `solution`: the lock is what the environment
  // means from now on, not one of the past that somebody wanted again.
  std::int64_t publish(EnvironmentBuild build, const std::string& lock, bool solution = true);
  std::vector<EnvironmentBuild> builds(const std::optional<Hash>& environment = std::nullopt) const;  // newest first
  void forget_build(std::int64_t id);
  void touch(std::int64_t id, UtcTime used);  // not synced

  struct Registration {
    RegisteredEnvironment environment;
    bool existed;  // the newest version has this content already
  };
  Registration add_version(const std::string& name, const std::string& definition, const Hash& content, UtcTime now);
  // The newest, or that one. Nothing: there is none, or it was deleted.
  std::optional<RegisteredEnvironment> version(const std::string& name, std::optional<std::int64_t> version) const;
  std::vector<RegisteredEnvironment> versions(const std::optional<std::string>& name) const;  // by name, newest first
  std::optional<RegisteredEnvironment> version_with(const Hash& content) const;  // the first that was registered
  // All versions, or one. How many there were.
  std::int64_t remove_version(const std::string& name, std::optional<std::int64_t> version);

 private:
  History& history_;
};

}  // namespace runner::store
