#include "runner/pipeline/run_token.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "runner/os/file.hpp"

using runner::pipeline::open_run_tokens;
using runner::pipeline::RunTokens;
using runner::pipeline::TokenOwner;

namespace {

RunTokens::Key key_of_ascending_bytes() {
  RunTokens::Key key{};
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::byte>(i);
  return key;
}

struct KeyDirectory {
  KeyDirectory() {
    std::string pattern = "/tmp/run_token_test.XXXXXX";
    path = ::mkdtemp(pattern.data());
  }
  ~KeyDirectory() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

}  // namespace

TEST_CASE("a token is the run, the attempt and their HMAC, as another implementation makes it") {
  const RunTokens tokens(key_of_ascending_bytes());
  // Python: base64.urlsafe_b64encode(hmac.new(bytes(range(32)), RUN + b"\0" + ATTEMPT, "sha256").digest())
  CHECK(tokens.token_of({.run = "exp_1700000000_0123abcd", .attempt = 1}) ==
        "exp_1700000000_0123abcd.1.mY1uokUXcCn6MuR6lPQXfB3iQ51KhB0vkL5hjgXET_I");
  CHECK(tokens.token_of({.run = "a.b", .attempt = 12}) == "a.b.12.mCfzPSOiT4NUo49-ke4vQuJH3aAaAsrbuqzm4ugzfFM");
}

TEST_CASE("a token names its owner, and nothing that differs from it does") {
  const RunTokens tokens(key_of_ascending_bytes());
  const TokenOwner owner{.run = "a.b", .attempt = 12};
  const std::string token = tokens.token_of(owner);
  CHECK(tokens.owner_of(token) == owner);
  for (std::size_t at = 0; at < token.size(); ++at) {
    std::string other = token;
    other[at] = other[at] == 'x' ? 'y' : 'x';
    CAPTURE(other);
    CHECK_FALSE(tokens.owner_of(other));
  }
  for (const std::string& other :
       {std::string(), std::string("."), std::string(".."), token + "A", token.substr(0, token.size() - 1), token + "=",
        "x" + token, token.substr(4), std::string("a.b.12."), token.substr(token.rfind('.') + 1)}) {
    CAPTURE(other);
    CHECK_FALSE(tokens.owner_of(other));
  }
  // Where the id ends and the attempt begins is part of what is signed.
  const std::string mac = token.substr(token.rfind('.'));
  CHECK_FALSE(tokens.owner_of("a.b.1" + mac));
  CHECK_FALSE(tokens.owner_of("a.b1.2" + mac));
}

TEST_CASE("another key makes other tokens") {
  const RunTokens tokens(key_of_ascending_bytes());
  const RunTokens others(RunTokens::Key{});
  CHECK_FALSE(others.owner_of(tokens.token_of({.run = "r", .attempt = 1})));
}

TEST_CASE("the key is made once, for its owner alone, and is the next daemon's too") {
  const KeyDirectory directory;
  const auto file = directory.path / "api.key";
  const std::string token = open_run_tokens(file).token_of({.run = "r", .attempt = 1});
  struct ::stat info {};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  CHECK(info.st_size == 32);
  CHECK(open_run_tokens(file).owner_of(token));
  CHECK(open_run_tokens(directory.path / "other.key").token_of({.run = "r", .attempt = 1}) != token);
}

TEST_CASE("what is no key is replaced by one") {
  const KeyDirectory directory;
  const auto file = directory.path / "api.key";
  std::ofstream(file) << "short";
  const std::string token = open_run_tokens(file).token_of({.run = "r", .attempt = 1});
  CHECK(runner::os::read_file(file).size() == 32);
  CHECK(open_run_tokens(file).owner_of(token));
}
