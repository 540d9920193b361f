// What a terminal or a page is shown of text that a script wrote.
#include <algorithm>
#include <string>
#include <vector>

#include "runner/cli/code_point.hpp"
#include "runner/cli/exec_stream.hpp"
#include "runner/cli/log_display.hpp"
#include "runner/cli/nul_items.hpp"
#include "runner/cli/quoted_path.hpp"
#include "runner/cli/table.hpp"
#include "runner/pipeline/hidden_path.hpp"
#include "runner/pipeline/line_difference.hpp"
#include "runner/pipeline/post_mortem.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

// Our own: erase a line, go up, go to its beginning. "\x1b[" parameters 'm' is the script's.
void require_harmless(std::string_view shown, bool live, std::string_view text) {
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const auto c = static_cast<unsigned char>(shown[i]);
    if (c == 0x1b) {
      fuzz::require(i + 1 < shown.size() && shown[i + 1] == '[', "an escape is a CSI", text, shown);
      std::size_t end = i + 2;
      while (end < shown.size() &&
             (std::isdigit(static_cast<unsigned char>(shown[end])) != 0 || shown[end] == ';' || shown[end] == ':'))
        ++end;
      fuzz::require(end < shown.size(), "an escape ends", text, shown);
      fuzz::require(shown[end] == 'm' || (live && (shown[end] == 'K' || shown[end] == 'A' || shown[end] == 'J')),
                    "an escape is a style", text, shown);
      i = end;
    } else if (c < 0x20 || c == 0x7f) {
      fuzz::require(c == '\n' || c == '\t' || (live && c == '\r'), "no control character passes", text, shown);
    } else if (c == 0xc2 && i + 1 < shown.size()) {
      const auto next = static_cast<unsigned char>(shown[i + 1]);
      fuzz::require(next >= 0xa0, "no C1 control passes", text, shown);
    }
  }
}

void show_log(std::string_view text, bool live) {
  cli::LogDisplay whole(80, live);
  std::string at_once = whole.take(text);
  at_once += whole.finish();
  require_harmless(at_once, live, text);
  cli::LogDisplay pieces(80, live);
  std::string piecewise;
  for (std::size_t at = 0; at < text.size(); at += 7) piecewise += pieces.take(text.substr(at, 7));
  piecewise += pieces.finish();
  require_harmless(piecewise, live, text);
  if (!live) fuzz::require(at_once == piecewise, "pieces make no difference", at_once, piecewise);
}

void show_words(std::string_view text) {
  const std::string quoted = cli::quoted_path(text);
  fuzz::require(std::all_of(quoted.begin(), quoted.end(), [](char c) { return c >= 0x20 && c < 0x7f; }),
                "a quoted path is plain", text, quoted);
  for (std::string_view rest = text; !rest.empty();) {
    const cli::CodePoint point = cli::decode(rest);
    fuzz::require(point.length <= rest.size(), "a code point is in the text");
    if (point.length == 0) cli::is_cut_short(rest);
    cli::is_harmful(point.value);
    cli::width_of(point.value);
    rest.remove_prefix(std::max<std::size_t>(point.length, 1));
  }
  cli::Table table({{.title = "A"}, {.title = "B", .right = true, .least = 3}});
  table.add({{.text = std::string(text)}, {.text = std::string(text.substr(text.size() / 2))}});
  require_harmless(table.text(40), false, text);
}

void read_log_end(std::string_view text) {
  const std::string line = pipeline::shown_line(text, 200);
  fuzz::require(line.size() <= 200 + 16, "a line is short", text, line);
  require_harmless(line, false, text);
  std::vector<std::string_view> rest;
  pipeline::stack_lines(text, rest);
  pipeline::hidden_path_in(text, [](const std::string&) { return true; });
  pipeline::line_difference(text.substr(0, text.size() / 2), text.substr(text.size() / 2));
  const std::string page = pipeline::to_text({.run = "r",
                                              .command = std::string(text.substr(0, 50)),
                                              .started = std::nullopt,
                                              .outcome = {.kind = OutcomeKind::kTimedOut},
                                              .look = std::nullopt,
                                              .usage = {},
                                              .log_end = std::string(text)});
  require_harmless(page, false, text);
}

void read_stream(std::string_view bytes) {
  std::size_t handed_on = 0;
  const auto count = [&](std::string_view piece) { handed_on += piece.size(); };
  cli::ExecStream stream(count, count);
  fuzz::accepts([&] {
    for (std::size_t at = 0; at < bytes.size(); at += 5) stream.take(std::as_bytes(std::span(bytes.substr(at, 5))));
  });
  fuzz::require(handed_on <= bytes.size(), "no more comes out than went in");
  if (stream.exit_status())
    fuzz::require(*stream.exit_status() >= 0 && *stream.exit_status() <= 255, "a status is one");
  std::string joined;
  cli::NulItems items([&](std::string_view item) { joined.append(item).push_back('\0'); });
  for (std::size_t at = 0; at < bytes.size(); at += 5) items.take(std::as_bytes(std::span(bytes.substr(at, 5))));
  fuzz::require(bytes.starts_with(joined), "items are the list");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.choose(5)) {
    case 0:
      show_log(input.rest(), false);
      break;
    case 1:
      show_log(input.rest(), true);
      break;
    case 2:
      show_words(input.rest());
      break;
    case 3:
      read_log_end(input.rest());
      break;
    default:
      read_stream(input.rest());
  }
  return 0;
}
