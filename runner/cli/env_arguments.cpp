#include "runner/cli/env_arguments.hpp"

#include <CLI/CLI.hpp>

#include "runner/core/error.hpp"

namespace runner::cli {
namespace {

// As in the Azure CLI NAME may also be -n NAME, and its version -v VERSION.
CLI::Option* add_name(CLI::App& app, std::string& into, const char* type, const char* help) {
  return app.add_option("name,-n,--name", into, help)->type_name(type);
}

void add_version(CLI::App& app, std::optional<std::string>& into) {
  app.add_option("-v,--version", into, "the same as NAME:VERSION")->type_name("VERSION");
}

void add_build_arguments(CLI::App& app, std::vector<KeyValue>& into) {
  app.add_option_function<std::vector<std::string>>(
         "--build-arg",
         [&into](const std::vector<std::string>& texts) {
           for (const std::string& text : texts) {
             const auto equals = text.find('=');
             if (text.empty() || equals == 0)
               throw Error(ErrorCode::kInvalid, "--build-arg: '" + text + "' has no name before the '='");
             if (equals == std::string::npos)
               into.emplace_back(text, std::nullopt);
             else
               into.emplace_back(text.substr(0, equals), text.substr(equals + 1));
           }
         },
         "of the Dockerfile; K alone: the caller's value. Recorded, here and in the image: no place for secrets")
      ->type_name("K[=V]")
      ->allow_extra_args(false);
}

}  // namespace

void define(CLI::App& app, EnvRegisterOptions& o) {
  add_name(app, o.name, "NAME", "letters, digits, '_', '.' and '-'; with -d what the directory says");
  const auto add = [&app](const char* flags, std::optional<std::string>& into, const char* type, const char* help) {
    app.add_option(flags, into, help)->type_name(type);
  };
  add("--requirements", o.source.requirements, "FILE", "a virtual environment of a requirements.txt or pyproject.toml");
  add("--conda", o.source.conda, "FILE", "a conda environment; with --image in that image");
  add("--image", o.source.image, "REF", "an image as it is");
  add("--dockerfile", o.source.dockerfile, "FILE",
      "an image built of a Dockerfile; the current directory is its context");
  add("--python", o.source.python, "PATH", "an interpreter as it is");
  add("-d,--directory", o.directory, "DIR", "what 'env scaffold' wrote");
  add_build_arguments(app, o.source.build_arguments);
  app.footer(
      "Exactly one of them, but for --conda with --image. The version rises when the content changes.\n\n"
      "  runner env register training --requirements requirements.txt\n"
      "  runner submit --env training train.py");
}

void define(CLI::App& app, EnvListOptions& o) {
  app.add_option("name,-n,--name", o.name, "all versions of this one (the newest of each)")->type_name("NAME");
  app.add_flag("--all", o.all, "those that were saved without a name, too");
}

void define(CLI::App& app, EnvShowOptions& o) {
  add_name(app, o.name, "NAME[:VERSION]|DIGEST", "its newest version, or that one; or the first digits of a digest")
      ->required();
  add_version(app, o.version);
}

void define(CLI::App& app, EnvDiffOptions& o) {
  app.add_option("before", o.before, "NAME[:VERSION], a digest or a run")->type_name("A")->required();
  app.add_option("after", o.after, "what it is compared with")->type_name("B")->required();
}

void define(CLI::App& app, EnvScaffoldOptions& o) {
  add_name(app, o.name, "NAME", "of the new environment")->required();
  app.add_option("-d,--directory,--dir", o.directory, "where to (.); nothing is overwritten")->type_name("DIR");
  app.footer("Writes azureml_environment.json and conda_dependencies.yml, for 'runner env register -d DIR'.");
}

void define(CLI::App& app, EnvDownloadOptions& o) {
  add_name(app, o.name, "NAME[:VERSION]", "its newest version, or that one")->required();
  add_version(app, o.version);
  app.add_option("-d,--directory,--dir", o.directory, "where to (.); nothing is overwritten")->type_name("DIR");
}

void define(CLI::App& app, EnvDeleteOptions& o) {
  add_name(app, o.name, "NAME[:VERSION]", "all of its versions, or that one")->required();
  add_version(app, o.version);
}

}  // namespace runner::cli
