#include "envs/image.hpp"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

using Catch::Contains;

const std::string kId = "sha256:" + std::string(64, 'a');

engine::Image image(const std::string& os, const std::string& architecture, const std::string& variant = "") {
  return {.id = kId, .repo_digests = {}, .os = os, .architecture = architecture, .variant = variant, .environment = {}};
}

engine::EngineFacts machine(const std::string& architecture) {
  engine::EngineFacts facts;
  facts.os = "linux";
  facts.architecture = architecture;
  return facts;
}

// In the place of /proc/sys/fs/binfmt_misc.
struct Binfmt {
  std::filesystem::path path;
  Binfmt() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-binfmt-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Binfmt() { os::remove_tree(path); }
  void add(const std::string& emulator) const { std::ofstream(path / emulator) << "enabled\n"; }
  bool runs(const engine::Image& image, const engine::EngineFacts& facts) const {
    try {
      require_platform(image, "x:1", facts, path.string());
      return true;
    } catch (const Error&) {
      return false;
    }
  }
};

}  // namespace

TEST_CASE("an image of another platform is refused with both names and the ways out") {
  const Binfmt binfmt;
  try {
    require_platform(image("linux", "arm", "v7"), "debian:12", machine("amd64"), binfmt.path.string());
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kUnavailable);
    CHECK(error.message() == "image debian:12 is for linux/arm/v7, the container engine runs on linux/amd64");
    CHECK_THAT(error.hint(), Contains("docker pull --platform linux/amd64 debian:12") && Contains("qemu-user-static"));
  }
  try {
    require_platform(image("windows", "amd64"), "nanoserver", machine("amd64"), binfmt.path.string());
    FAIL("no error");
  } catch (const Error& error) {
    CHECK_THAT(error.message(), Contains("windows/amd64") && Contains("linux/amd64"));
    CHECK_THAT(error.hint(), !Contains("qemu"));  // no emulator helps there
  }
}

TEST_CASE("an image of the engine's platform runs, also one that does not say") {
  const Binfmt binfmt;
  CHECK(binfmt.runs(image("linux", "amd64"), machine("amd64")));
  CHECK(binfmt.runs(image("linux", "arm64", "v8"), machine("arm64")));
  CHECK(binfmt.runs(image("", ""), machine("amd64")));
  CHECK(binfmt.runs(image("linux", "386"), machine("amd64")));  // its processor can
  CHECK_FALSE(binfmt.runs(image("linux", "amd64"), machine("386")));
  CHECK_FALSE(binfmt.runs(image("linux", "386"), machine("arm64")));
}

TEST_CASE("an emulator that the kernel knows lets foreign images run, each its own") {
  const Binfmt binfmt;
  CHECK_FALSE(binfmt.runs(image("linux", "arm64"), machine("amd64")));
  binfmt.add("qemu-aarch64");
  CHECK(binfmt.runs(image("linux", "arm64"), machine("amd64")));
  CHECK_FALSE(binfmt.runs(image("linux", "amd64"), machine("arm64")));
  binfmt.add("qemu-x86_64");
  CHECK(binfmt.runs(image("linux", "amd64"), machine("arm64")));
  binfmt.add("qemu-i386");
  CHECK(binfmt.runs(image("linux", "386"), machine("arm64")));
  CHECK_FALSE(binfmt.runs(image("linux", "riscv64"), machine("amd64")));
  binfmt.add("qemu-riscv64");
  CHECK(binfmt.runs(image("linux", "riscv64"), machine("amd64")));
  CHECK_FALSE(binfmt.runs(image("windows", "arm64"), machine("amd64")));
}

TEST_CASE("of several registries' digests the one of the name that was asked for counts") {
  engine::Image many = image("linux", "arm64", "v8");
  many.repo_digests = {"mirror.local:5000/debian@sha256:1", "debian@sha256:2", "debian-slim@sha256:3"};
  CHECK(image_ref(many, "debian:12").digest == "debian@sha256:2");
  CHECK(image_ref(many, "debian").digest == "debian@sha256:2");
  CHECK(image_ref(many, "debian@sha256:9").digest == "debian@sha256:2");
  CHECK(image_ref(many, "mirror.local:5000/debian:12").digest == "mirror.local:5000/debian@sha256:1");
  CHECK(image_ref(many, "sha256:aaaa").digest == "mirror.local:5000/debian@sha256:1");  // any is better than none
  CHECK(image_ref(many, "debian").id == kId);
  CHECK(image_ref(many, "debian").platform == "linux/arm64/v8");
  many.repo_digests.clear();  // built here
  CHECK(image_ref(many, "debian").digest.empty());
}

TEST_CASE("an image's identity is its id, before that its name") {
  CHECK(image_digest(image("linux", "amd64")).hex() == std::string(64, 'a'));
  engine::Image odd = image("linux", "amd64");
  odd.id = "sha256:short";
  const Hash first = image_digest(odd);
  odd.id = "sha256:other";
  CHECK_FALSE(image_digest(odd) == first);
  CHECK(unresolved_image_digest("debian:12") == unresolved_image_digest("debian:12"));
  CHECK_FALSE(unresolved_image_digest("debian:12") == unresolved_image_digest("debian:13"));
}

}  // namespace runner::envs
