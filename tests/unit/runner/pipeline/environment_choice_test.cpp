#include "runner/pipeline/environment_choice.hpp"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "runner/core/error.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;

struct Project {
  fs::path path;
  Project() {
    std::string pattern = (fs::temp_directory_path() / "choice-test-XXXXXX").string();
    path = fs::canonical(::mkdtemp(pattern.data()));
  }
  ~Project() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Project(const Project&) = delete;
  Project& operator=(const Project&) = delete;

  Error failure(api::Submission submission) const {
    submission.caller_directory = path.string();
    try {
      choose_environment(submission, std::nullopt, path, [](const std::string&) { return std::nullopt; });
    } catch (const Error& error) {
      return error;
    }
    FAIL("no error");
    throw;
  }
};

}  // namespace

TEST_CASE("a file of an option that is none is told with the option and the way out") {
  const Project project;
  const auto requirements = [&](const std::string& file) {
    api::Submission submission;
    submission.requirements = file;
    return project.failure(submission);
  };
  const auto conda = [&](const std::string& file) {
    api::Submission submission;
    submission.conda = file;
    return project.failure(submission);
  };
  CHECK(requirements("").message() == "--requirements '': no file is named");
  CHECK(requirements("").code() == ErrorCode::kInvalid);
  CHECK(requirements(".").message() == "--requirements .: is a directory, no file");
  CHECK(requirements(".").hint() == "name the file in it: --requirements requirements.txt");
  CHECK(requirements("gone.txt").message() ==
        "--requirements gone.txt: there is no " + (project.path / "gone.txt").string());
  CHECK(requirements("gone.txt").code() == ErrorCode::kNotFound);
  CHECK(conda("").message() == "--conda '': no file is named");
  CHECK(conda("nope.yml").message() == "--conda nope.yml: there is no " + (project.path / "nope.yml").string());
  CHECK(conda("nope.yml").hint() == "the path is relative to the directory you submit from");
  fs::create_directory(project.path / "sub");
  CHECK(conda("sub").hint() == "name the file in it: --conda sub/environment.yml");
}

}  // namespace runner::pipeline
