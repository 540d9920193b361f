#include "runner/cli/exec_stream.hpp"

#include <catch2/catch.hpp>

#include "runner/core/error.hpp"

using runner::cli::ExecStream;

namespace {

std::string frame(int kind, const std::string& contents) {
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(kind);
  for (unsigned i = 0; i < 4; ++i) bytes[7 - i] = static_cast<char>(contents.size() >> (8 * i) & 0xff);
  return bytes + contents;
}

struct Taken {
  std::string output;
  std::string error;
  std::optional<int> status;
};

// The stream handed over in pieces of so many bytes.
Taken take(const std::string& bytes, std::size_t piece) {
  Taken taken;
  ExecStream stream([&](std::string_view text) { taken.output += text; },
                    [&](std::string_view text) { taken.error += text; });
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    stream.take(std::as_bytes(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at))));
  taken.status = stream.exit_status();
  return taken;
}

}  // namespace

TEST_CASE("frames are read however the stream is cut") {
  const std::string long_text(70'000, 'x');
  const std::string bytes =
      frame(1, "out") + frame(2, std::string("e\0r", 3)) + frame(1, "") + frame(1, long_text) + frame(3, "137");
  for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, std::size_t{8}, std::size_t{4096}, bytes.size()}) {
    const Taken taken = take(bytes, piece);
    CHECK(taken.output == "out" + long_text);
    CHECK(taken.error == std::string("e\0r", 3));
    CHECK(taken.status == 137);
  }
}

TEST_CASE("contents are handed on before their frame is complete") {
  CHECK(take(frame(1, "hello").substr(0, 10), 100).output == "he");
}

TEST_CASE("without the end frame there is no exit status") {
  CHECK_FALSE(take("", 1).status);
  CHECK_FALSE(take(frame(1, "3"), 1).status);
  CHECK_FALSE(take(frame(3, "137").substr(0, 10), 1).status);
  CHECK(take(frame(3, "0"), 1).status == 0);
}

TEST_CASE("bytes that are no frames are an error, not output") {
  for (const std::string& bytes :
       {frame(0, "x"), frame(4, "x"), std::string("HTTP/1.1 200 OK"), frame(3, ""), frame(3, "-1"), frame(3, "256"),
        frame(3, "1x"), frame(3, "0000"), frame(3, "0") + frame(1, "x"), frame(3, "0") + "x"}) {
    INFO(bytes);
    CHECK_THROWS_AS(take(bytes, 1), runner::Error);
  }
}
