// What the commands write: standard output and error, colours, the terminal's width, and text made harmless.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "runner/core/error.hpp"

namespace runner::cli {

// Thrown when the reader of standard output has gone (`runner ls | head -1`): end quietly.
struct OutputClosed {};

// Everything at once, unbuffered. OutputClosed on EPIPE, Error for a full disk.
void print(std::string_view text);
// To standard error; a failure there is not worth another message.
void print_error(std::string_view text) noexcept;
// Whether there is somebody to answer: standard input and error are a terminal.
bool can_ask();
// The question to standard error, with " [y/N] "; true for "y" or "yes". Waits for a line.
bool confirmed(std::string_view question);
// "runner: error: WHAT: WHY" and "hint: …", or the JSON error document.
void report(const Error& error, bool json) noexcept;

// Text from elsewhere (names, tags, messages, file names), made fit for one line of a terminal: control characters,
// escape sequences, bidirectional overrides and bytes that are not UTF-8 come out as \n, \x1b, \u202e, \xff.
std::string printable(std::string_view text);
// The same for a line of a file: tabs are harmless and stay.
std::string printable_with_tabs(std::string_view line);
// Columns the text takes: combining marks none, East Asian wide characters two. For text that went through printable().
std::size_t display_width(std::string_view text);
// At most `width` columns, the last one "…" when something was cut off.
std::string shortened(std::string_view text, std::size_t width);

// Columns of the terminal on standard output (or another descriptor); 0 when there is none: then nothing is shortened.
std::size_t terminal_width(int descriptor = 1);

enum class Colour { kNone, kGreen, kRed, kYellow, kBlue, kDim, kBold };
enum class Stream { kOut, kError };
// A JSON document and a newline. On a terminal what would steer it stands as \u009b: the same document.
std::string json_text(std::string_view document, Stream stream = Stream::kOut);
// The text, coloured when the stream is a terminal and NO_COLOR is unset.
std::string coloured(std::string_view text, Colour colour, Stream stream = Stream::kOut);

}  // namespace runner::cli
