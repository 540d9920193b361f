// The `runner` program: parse, run one command, turn errors into one line and an exit code.
#pragma once

namespace runner::cli {

// main()'s body. Exit codes: cli.md, "For every command".
int run_command_line(int argc, char** argv) noexcept;

}  // namespace runner::cli
