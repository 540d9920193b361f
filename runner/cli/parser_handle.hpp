// The kinds of options that commands share, over CLI11: for arguments.cpp and the files beside it.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

namespace runner::cli {

inline void add_list(CLI::App& app, const char* flags, std::vector<std::string>& into, const char* type,
                     const std::string& help) {
  app.add_option(flags, into, help)->type_name(type)->allow_extra_args(false);
}

inline CLI::Option* add_text(CLI::App& app, const char* flags, std::optional<std::string>& into, const char* type,
                             const std::string& help) {
  return app.add_option(flags, into, help)->type_name(type);
}

// RUN may also be given as -r RUN, as in the Azure CLI.
inline void add_run(CLI::App& app, std::string& into) {
  auto* option =
      app.add_option("run,-r,--run", into, "id, a unique prefix, the 8-hex tail, or @last")->type_name("RUN");
  option->required();
}

inline void add_runs(CLI::App& app, std::vector<std::string>& into) {
  app.add_option("runs,-r,--run", into, "ids, unique prefixes, 8-hex tails, or @last")->type_name("RUN")->required();
}

}  // namespace runner::cli
