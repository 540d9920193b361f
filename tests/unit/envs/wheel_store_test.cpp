#include "envs/wheel_store.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "envs/digest.hpp"
#include "runner/core/content.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

struct Shelf {
  fs::path path;
  fs::path wheel;
  std::string hash;
  Shelf() {
    std::string pattern = (fs::temp_directory_path() / "runner-wheels-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
    wheel = path / "tiny_beta-2.0-py3-none-any.whl";
    std::ofstream(wheel) << "what a wheel has in it";
    hash = "sha256:" + digest_of_file(wheel).hex();
  }
  ~Shelf() { os::remove_tree(path); }
  fs::path wheels() const { return path / "wheels"; }
};

}  // namespace

TEST_CASE("a damaged copy is no copy") {
  const Shelf shelf;
  const WheelStore store(shelf.wheels());
  CHECK_FALSE(store.find(shelf.hash));
  CHECK_FALSE(store.add("sha256:" + std::string(64, '0'), shelf.wheel, false));
  CHECK_FALSE(store.add("md5:00", shelf.wheel, false));
  CHECK(fs::is_empty(shelf.wheels()));
  CHECK(store.add(shelf.hash, shelf.wheel, false));
  CHECK(store.add(shelf.hash, shelf.wheel, false));
  const auto copy = store.find(shelf.hash);
  REQUIRE(copy);
  CHECK(copy->hash == shelf.hash);
  CHECK(os::read_file(copy->file) == os::read_file(shelf.wheel));
  std::ofstream(copy->file, std::ios::app) << "x";
  CHECK_FALSE(store.find(shelf.hash));
  CHECK_FALSE(store.has(shelf.hash));
  CHECK(store.add(shelf.hash, shelf.wheel, false));
  CHECK(store.find(shelf.hash));
}

TEST_CASE("what a killed copy has left goes, and nothing else") {
  const Shelf shelf;
  const WheelStore store(shelf.wheels());
  store.remove_unfinished();  // no directory yet
  CHECK(store.add(shelf.hash, shelf.wheel, false));
  fs::create_directory(shelf.wheels() / ".new-abcdef");
  std::ofstream(shelf.wheels() / ".new-abcdef" / "half.whl") << "what a wh";
  store.remove_unfinished();
  CHECK_FALSE(fs::exists(shelf.wheels() / ".new-abcdef"));
  CHECK(store.find(shelf.hash));
}

}  // namespace runner::envs
