#include "runner/api/image_reference.hpp"

#include <catch2/catch.hpp>

#include "runner/core/error.hpp"

namespace runner::api {
namespace {

const std::string kHex(64, 'a');

Error failure(const std::string& text) {
  try {
    check_image_reference(text, "--image");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK(error.message().find("--image") == 0);
    CHECK_FALSE(error.hint().empty());
    return error;
  }
  FAIL("accepted: " << text);
  throw;
}

}  // namespace

TEST_CASE("names, tags, digests and ids of images are accepted") {
  for (const std::string& text :
       {std::string("ubuntu"), std::string("python:3.11-slim"), std::string("library/python"),
        std::string("ghcr.io/a/b_c/d__e/f--g:V1.0_x"), std::string("localhost:5000/x"), std::string("localhost/x"),
        std::string("HOST/x"), std::string("[::1]:5000/x:1"), "ubuntu@sha256:" + kHex, "ubuntu:22.04@sha256:" + kHex,
        "sha256:" + kHex, kHex, std::string("1a2b3c4d5e6f"), std::string("a.b/c"), "x:" + std::string(128, 't')}) {
    INFO(text);
    CHECK_NOTHROW(check_image_reference(text, "--image"));
  }
}

TEST_CASE("what cannot name an image is refused with the part that is wrong") {
  CHECK(failure("Ubuntu:22.04").hint() == "write ubuntu:22.04");
  CHECK(failure("ghcr.io/Me/App").message() == "--image ghcr.io/Me/App: the repository must be lowercase");
  CHECK(failure("ghcr.io/Me/App").hint() == "write ghcr.io/me/app");
  CHECK(failure("").message() == "--image: no image is named");
  CHECK(failure("x:").message().find("not a tag") != std::string::npos);
  CHECK(failure("x:-1").message().find("not a tag") != std::string::npos);
  CHECK(failure("x:" + std::string(129, 't')).message().find("not a tag") != std::string::npos);
  CHECK(failure("x@latest").message().find("not a digest") != std::string::npos);
  CHECK(failure("x@sha256:abc").message().find("not a digest") != std::string::npos);
  CHECK(failure("sha256:abc").message().find("64 hex digits") != std::string::npos);
  CHECK(failure("a.b:x/c").message().find("no registry's address") != std::string::npos);
  for (const char* text : {"a b", "/x", "x/", "a//b", "-x", "x-", "a..b", "a___b", "a._b", "--rm", "x\n", "https://x/y",
                           "ünï", "a/b/", ".x", "x_"})
    failure(text);
  failure(std::string(256, 'x'));
}

}  // namespace runner::api
