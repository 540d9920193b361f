// What `docker build` sends to an Engine: the directory less what its .dockerignore names, as a tar stream. Blocking;
// any thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace runner::envs {

class BuildContext {
 public:
  // `dockerfile` is sent under the name kDockerfileName, whatever is in the directory. An empty directory: nothing else
  // is sent. Ignore rules are moby's patternmatcher's: FILE.dockerignore beside the Dockerfile, else .dockerignore.
  // Error(kInvalid) naming the line of a bad pattern, kPermission naming a file that cannot be read.
  BuildContext(std::filesystem::path directory, std::string dockerfile, std::filesystem::path dockerfile_path = {});

  static constexpr const char* kDockerfileName = ".runner.Dockerfile";

  // SHA-256 (hex) of names, kinds, modes, link targets and contents in bytewise order; not of times and owners.
  // `memo` is a file in which the answer is remembered for as long as no file looks changed; it may be deleted.
  std::string digest(const std::filesystem::path& memo) const;
  // Uncompressed POSIX tar (pax). `write` may throw to end it. Error(kConflict) for a file that changes while it is
  // read.
  void stream(const std::function<void(std::span<const std::byte>)>& write) const;

 private:
  std::filesystem::path directory_;
  std::string dockerfile_;
  std::filesystem::path dockerfile_path_;
};

// True if an instruction of the Dockerfile copies from the context (COPY or ADD without --from).
bool needs_context(const std::string& dockerfile);
// The images its FROM instructions name, stages and `scratch` left out, arguments before FROM and `build_arguments`
// expanded; in order. Error(kInvalid) with the line for a Dockerfile without FROM.
std::vector<std::string> base_images(const std::string& dockerfile,
                                     const std::map<std::string, std::string>& build_arguments);

}  // namespace runner::envs
