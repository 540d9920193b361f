// What `docker build` sends to an Engine: the directory less what its .dockerignore names, as a tar stream. Blocking;
// any thread.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "envs/context_files.hpp"
#include "envs/docker_ignore.hpp"
#include "runner/core/content.hpp"

namespace runner::envs {

// The rules for a Dockerfile's context: DOCKERFILE.dockerignore, else .dockerignore in the context.
inline constexpr const char* kDockerIgnore = ".dockerignore";

class BuildContext {
 public:
  // `dockerfile` is its text. An empty directory: nothing else is sent. Ignore rules are moby's patternmatcher's:
  // FILE.dockerignore beside `dockerfile_path`, else .dockerignore. `left_out`, the data directory, is never sent.
  // Error(kInvalid) naming the line of a bad pattern, kNotFound for a directory that is not there, kPermission naming a
  // file that cannot be read.
  BuildContext(std::filesystem::path directory, std::string dockerfile, std::filesystem::path dockerfile_path = {},
               std::filesystem::path left_out = {});

  static constexpr const char* kDockerfileName = ".runner.Dockerfile";
  // What the Engine is to be told: a Dockerfile that lies in the context as it is read here is sent as what it is; any
  // other text under kDockerfileName, whatever is in the directory, and not seen by COPY.
  const std::string& dockerfile_name() const { return dockerfile_name_; }

  // SHA-256 (hex) of names, kinds, modes, link targets and contents in bytewise order; not of times and owners, and not
  // of what the Engine takes out before it copies. `memo` is a file in which the answer is remembered for as long as no
  // file looks changed; it may be deleted; empty: none.
  std::string digest(const std::filesystem::path& memo) const;
  // The context as an uncompressed tar (GNU's: names are bytes), piece by piece; owners are root. Error(kConflict) for
  // a file that changes while it is read, and at the end if the content's digest is not `expected` (empty: anything).
  ReadSome reader(std::string expected = {}) const;

 private:
  std::vector<ContextFile> list() const;

  std::filesystem::path directory_;
  std::filesystem::path left_out_;  // a directory
  std::string dockerfile_;
  std::string dockerfile_name_ = kDockerfileName;
  std::optional<std::string> ignore_text_;  // of .dockerignore, whatever the rules come from
  bool separate_ = true;                    // the Dockerfile is no file of the context
  DockerIgnore ignore_;
};

// True if an instruction of the Dockerfile copies from the context (COPY or ADD without --from, unless all it copies
// are URLs and here-documents).
bool needs_context(const std::string& dockerfile);
// The images its FROM instructions and COPY --from name, stages and `scratch` left out, arguments before FROM and
// `build_arguments` expanded; in order, each once. Error(kInvalid) with the line for a Dockerfile without FROM.
std::vector<std::string> base_images(const std::string& dockerfile,
                                     const std::map<std::string, std::string>& build_arguments);

}  // namespace runner::envs
