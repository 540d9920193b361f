#include "envs/image.hpp"

#include <unistd.h>

#include <map>

#include "envs/digest.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

std::string platform_of(const engine::Image& image) {
  return image.os + "/" + image.architecture + (image.variant.empty() ? "" : "/" + image.variant);
}

// What qemu's binfmt entries are called, by GOARCH.
std::string emulator_of(const std::string& architecture) {
  static const std::map<std::string, std::string> names{{"amd64", "x86_64"}, {"arm64", "aarch64"}, {"386", "i386"}};
  const auto at = names.find(architecture);
  return "qemu-" + (at == names.end() ? architecture : at->second);
}

}  // namespace

ImageRef image_ref(const engine::Image& image, const std::string& reference) {
  ImageRef ref{.id = image.id, .digest = {}, .platform = platform_of(image)};
  const std::string name = engine::split_reference(reference).name + "@";
  for (const std::string& digest : image.repo_digests)
    if (ref.digest.empty() || digest.starts_with(name)) ref.digest = digest;
  return ref;
}

Hash image_digest(const engine::Image& image) {
  const auto colon = image.id.find(':');
  return Hash::from_hex(image.id.substr(colon + 1)).value_or(digest_of(image.id));
}

Hash unresolved_image_digest(const std::string& reference) { return digest_of("image " + reference); }

void require_platform(const engine::Image& image, const std::string& reference, const engine::EngineFacts& facts,
                      const std::string& binfmt) {
  const bool same_system = image.os.empty() || image.os == facts.os;
  const bool same_architecture = image.architecture.empty() || image.architecture == facts.architecture ||
                                 (image.architecture == "386" && facts.architecture == "amd64");
  const bool emulated = ::access((binfmt + "/" + emulator_of(image.architecture)).c_str(), F_OK) == 0;
  if (same_system && (same_architecture || emulated)) return;
  const std::string ours = facts.os + "/" + facts.architecture;
  throw Error(ErrorCode::kUnavailable,
              "image " + reference + " is for " + platform_of(image) + ", the container engine runs on " + ours,
              "docker pull --platform " + ours + " " + reference +
                  (same_system ? ", or install an emulator: apt install qemu-user-static" : ""));
}

}  // namespace runner::envs
