#include "runner/cli/log_display.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace runner::cli {
namespace {

using namespace std::string_literals;

std::string shown(std::string_view bytes, bool live = false, std::size_t columns = 80) {
  LogDisplay display(columns, live);
  const std::string text = display.take(bytes);
  return text + display.finish();
}

// The same whether it comes at once or byte by byte.
std::string shown_in_pieces(std::string_view bytes) {
  LogDisplay display(80, false);
  std::string text;
  for (const char c : bytes) text += display.take({&c, 1});
  return text + display.finish();
}

}  // namespace

TEST_CASE("escape sequences become visible, styles stay") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"\x1b[1;31mred\x1b[0m\n", "\x1b[1;31mred\x1b[0m\n"},
      {"\x1b[38:2:1:2:3mx\x1b[m\n", "\x1b[38:2:1:2:3mx\x1b[m\n"},
      {"a\x1b[2Jb\n", "a^[[2Jb\n"},
      {"\x1b[?25l\n", "^[[?25l\n"},
      {"\x1b[>4;1m\n", "^[[>4;1m\n"},  // xterm's modifyOtherKeys ends in m and is no style
      {"\x1b[1 m\n", "^[[1 m\n"},
      {"\x1b]0;t\x07\n", "^[]0;t^G\n"},
      {"\x1bPq\x1b\\\n", "^[Pq^[\\\n"},
      {"\x9b"
       "31m\n",
       "\\x9b31m\n"},
      {"\xc2\x9b"
       "31m\n",
       "\\x9b31m\n"},
      {"\x7f\x0e\x0b\n"s, "^?^N^K\n"},
      {"a\0b\n"s, "a^@b\n"},
      {"caf\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x98\x80\n", "caf\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x98\x80\n"},
      {"\xe6\x97", "\\xe6\\x97"},
      {"\xc0\x80\xff\n", "\\xc0\\x80\\xff\n"},
      {"\x1b", "^["},
      {"\x1b[31", "^[[31"},
      {"\x1b\x1b[2J", "^[^[[2J"},
  };
  for (const auto& [bytes, wanted] : cases) {
    CHECK(shown(bytes) == wanted);
    CHECK(shown_in_pieces(bytes) == wanted);
    CHECK(shown("before\n" + bytes).substr(7) == wanted);
  }
}

TEST_CASE("nothing but styles, tabs and newlines of a control reaches the terminal, whatever comes") {
  std::string all;
  for (int first = 0; first < 256; ++first)
    for (const char* rest : {"", "[2J", "]0;x\x07", "P1\x1b\\", "[31m", "\x1b[", "[", "\xc2\x9b"}) {
      all += static_cast<char>(first);
      all += rest;
    }
  for (const std::string& text : {shown(all), shown_in_pieces(all)})
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto c = static_cast<unsigned char>(text[i]);
      if (c == 0x1b) {
        const auto end = text.find_first_not_of("0123456789;:", i + 2);
        REQUIRE(text[i + 1] == '[');
        REQUIRE(text[end] == 'm');
      }
      REQUIRE((c >= 0x20 || c == '\n' || c == '\t' || c == 0x1b));
      REQUIRE_FALSE((c == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0));
    }
}

TEST_CASE("a rewritten line is shown in its last state") {
  CHECK(shown("\r 10%\r 20%\r 30%\n") == " 30%\n");
  CHECK(shown(" 10%\r 20%\r\n") == " 20%\n");
  CHECK(shown("one\r\ntwo\r\n") == "one\ntwo\n");
  CHECK(shown("10%\b\b\b20%\n") == "20%\n");
  CHECK(shown("caf\xc3\xa9\b\b\n") == "ca\n");
  CHECK(shown("\b\b\n") == "\n");
  CHECK(shown("\x1b[32m10%\r20%\x1b[0m\n") == "\x1b[32m20%\x1b[0m\n");
  CHECK(shown("half\rlast") == "last");
  std::string bar;
  for (int i = 0; i < 10'000; ++i) bar += "\r" + std::to_string(i);
  CHECK(shown_in_pieces(bar + "\n") == "9999\n");
}

TEST_CASE("a live line is shown as it grows and replaced when it is rewritten") {
  LogDisplay display(20, true);
  CHECK(display.take("10%") == "10%");
  CHECK(display.take(" of") == " of");
  CHECK(display.take("\r") == "");
  CHECK(display.take("20%") == "\r\x1b[K20%");
  CHECK(display.take(" it\n") == "\r\x1b[K20% it\n");
  CHECK(display.take("one\n") == "one\n");
  // What is longer than the row would leave rows behind when it is replaced.
  CHECK(display.take(std::string(50, 'x')) == std::string(19, 'x'));
  CHECK(display.take("\n") == "\r\x1b[K" + std::string(50, 'x') + "\n");
  CHECK(display.take("\x1b[31mred") == "\x1b[31mred");
  CHECK(display.finish() == "\x1b[0m");
}

TEST_CASE("a line of any length passes in bounded memory") {
  LogDisplay display(80, true);
  std::size_t longest = 0;
  std::size_t total = 0;
  const std::string piece(1 << 16, 'x');
  for (int i = 0; i < 100; ++i) {
    const std::string text = display.take(piece);
    longest = std::max(longest, text.size());
    total += text.size();
  }
  CHECK(longest < 1 << 18);
  const std::string rest = display.take("\rnew\n");
  CHECK(rest.ends_with("\nnew\n"));
  CHECK(total + rest.size() >= 100 * piece.size());
}

}  // namespace runner::cli
