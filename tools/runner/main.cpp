// runner: the command line (runner/cli).
#include "runner/cli/cli.hpp"

int main(int argc, char** argv) { return runner::cli::run_command_line(argc, argv); }
