// A script's output on a terminal. What it prints is not trusted: colours and styles (SGR) pass, every other escape
// sequence and control character becomes visible (^[, ^G, \x9b). A line that was rewritten after carriage returns, as
// progress bars do, is shown in its last state. Bytes that go anywhere but to a terminal never come through here.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace runner::cli {

class LogDisplay {
 public:
  // `columns` of the terminal. `live`: a line that is still growing or being rewritten is shown as far as it fits, and
  // replaced when there is more of it; else only what is finished.
  LogDisplay(std::size_t columns, bool live) : columns_(columns), live_(live) {}

  // What to write for these bytes of the log, which may end anywhere.
  std::string take(std::string_view bytes);
  // What is left at the log's end; ends all styles.
  std::string finish();

 private:
  void read(std::string_view& text, bool last);
  bool read_escape(std::string_view& text, bool last);
  void put(std::string_view shown);
  void put_style(std::string_view sequence);
  void erase_one();
  void end_line();
  void start_over();
  void erase_shown();
  void show_unfinished();

  const std::size_t columns_;
  const bool live_;
  std::string out_;
  std::string pending_;        // bytes that mean something only with those that follow
  std::string line_;           // the unfinished line, ready to be written
  std::size_t style_end_ = 0;  // in it, of the last style
  std::string shown_;          // what of it is on the terminal
  std::string styles_;         // that are on
  bool returned_ = false;      // a carriage return: what comes next replaces the line
  bool overflown_ = false;     // the line was too long to be kept: what is on the terminal of it stays there
};

}  // namespace runner::cli
