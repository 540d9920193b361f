// The Docker Engine API as the daemon uses it: images, and what is left of containers. Blocking; one object per thread.
// Every call throws the Error of failure.hpp, and ends within kCallLimit when the Engine hangs. What happens while a
// container lives is container_life.hpp, in a process of its own.
// API: https://docs.docker.com/engine/api/; spoken versions 1.40 to 1.52 (Podman's compatible socket says 1.41).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/engine/build_answer.hpp"
#include "runner/http/unix_transfers.hpp"

namespace runner::engine {

struct EngineFacts {
  std::string api;  // "/v1.41": begins every target
  std::string version;
  bool podman = false;
  bool rootless = false;      // its containers' uid 0 is the caller
  std::string os;             // "linux"
  std::string architecture;   // GOARCH: "amd64"
  double cpus = 0;            // 0: unknown
  bool limits_memory = true;  // what it can enforce here
  bool limits_pids = true;
  bool limits_cpus = true;
};

struct Image {
  std::string id;                   // "sha256:…"
  std::vector<std::string> tags{};  // its names, "host/name:1"
  std::vector<std::string> repo_digests;
  std::string os;
  std::string architecture;
  std::string variant;                   // "v8"; mostly empty
  std::vector<std::string> environment;  // "K=V"
  std::vector<std::string> on_build{};   // instructions for what is built on it
  std::int64_t bytes = 0;                // with what it shares with others
};

// What POST /build is asked.
struct ImageBuild {
  ReadSome context;                       // a tar stream; what it throws ends the build
  std::string dockerfile = "Dockerfile";  // its name in the context
  std::string tag;
  std::map<std::string, std::string> arguments{};
  std::map<std::string, std::string> labels{};
  std::string network = "host";   // of RUN steps: as runs have it, and where no bridge is set up, too
  bool fresh = false;             // without the Engine's build cache
  std::string registry_config{};  // X-Registry-Config (RegistryCredentials); never shown
};

class BuildError : public Error {
 public:
  BuildError(const Error& error, std::optional<BuildStep> failed) : Error(error), step(std::move(failed)) {}
  std::optional<BuildStep> step;  // which had been begun
};

class Engine {
 public:
  static constexpr std::chrono::seconds kCallLimit{10};

  explicit Engine(std::filesystem::path socket) : transfers_(std::move(socket)) {}

  const std::filesystem::path& socket() const { return transfers_.socket(); }
  // Asked about once a second while a call lasts; true ends it (Error kUnavailable "stopped").
  void stop_when(std::function<bool()> stop) { stop_ = std::move(stop); }
  // Asked at the first call. Error(kUnavailable) for an engine that speaks none of our versions.
  const EngineFacts& facts();
  void use(EngineFacts facts) { facts_ = std::move(facts); }  // known from before

  std::optional<Image> inspect_image(const std::string& reference);
  // From a registry, even if there is an image of that name: only what has changed comes. A registry that does not
  // answer is an error all the same, as with `docker run --pull always`; whoever can do with what is here asks
  // inspect_image() first. `registry_auth` is X-Registry-Auth (RegistryCredentials); never shown. `progress` gets a
  // line for people whenever it changes; false gives up (Error kUnavailable "stopped"). A registry that wants other
  // credentials is Error(kPermission) with the way to log in.
  void pull(const std::string& reference, const std::function<bool(const std::string& line)>& progress,
            const std::string& registry_auth = {});

  // The new image's id. BuildError naming the step: kInvalid for a Dockerfile or a command of it that fails, else as
  // pull(). Ends the build when whoever listens throws.
  std::string build_image(const ImageBuild& build, const BuildListener& listener);
  void tag(const std::string& image, const std::string& reference);
  // The name, and with its last name the image. False: a container uses it, it stays. A missing one is fine.
  bool remove_image(const std::string& reference);

  struct Container {
    std::string id;
    std::map<std::string, std::string> labels;
  };
  // The containers that have all the labels ("K=V", or "K" whatever its value), in any state.
  std::vector<Container> containers_with(const std::vector<std::string>& labels);
  // With its anonymous volumes, running or not; returns when it is gone. A missing one is fine.
  void remove_container(const std::string& id);

  // What a container leaves that somebody removed without its anonymous volumes: those with all the labels that no
  // container uses. Only where `unwanted` says so of the value of label `key`. One that the Engine keeps all the same
  // (Docker 20.10 does so after a live restore, until it is started anew) is left.
  void remove_volumes_with(const std::vector<std::string>& labels, const std::string& key,
                           const std::function<bool(const std::string& value)>& unwanted);

  // A short container to its end, removed afterwards. `body` is that of POST /containers/create. Its exit status is
  // nobody's concern.
  void run_to_end(const std::string& body, const std::string& attempted);

  // A container to its end, removed whatever happens; its exit status. `body` must ask for the log driver "json-file".
  // What `on_output` throws ends it.
  using OnOutput = std::function<void(bool is_error, std::string_view bytes)>;
  int run_container(const std::string& body, const std::string& attempted, const OnOutput& on_output);

  // A container of the image that never starts, to look at the image's files. The caller removes it.
  std::string create_idle_container(const std::string& image_id, const std::vector<std::string>& labels);
  // A tar stream of one path of a container's file system, at most `most` bytes of it; nothing if it does not exist.
  std::optional<std::string> read_archive(const std::string& container, const std::string& path, std::size_t most);

 private:
  http::TransferResult ask(http::TransferRequest request);
  int follow(const std::string& id, const std::string& attempted, const OnOutput& on_output);

  http::UnixTransfers transfers_;
  std::function<bool()> stop_;
  std::optional<EngineFacts> facts_;
};

// "debian:12" → {"debian", "12"}; "x@sha256:…" → {"x", "sha256:…"}; no tag is "latest", as with `docker pull`.
struct SplitReference {
  std::string name;
  std::string tag;
};
SplitReference split_reference(const std::string& reference);

}  // namespace runner::engine
