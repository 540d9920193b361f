#include "runner/pipeline/secrets.hpp"

#include <stdlib.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "runner/core/error.hpp"

using runner::Error;
using runner::ErrorCode;
namespace pipeline = runner::pipeline;

namespace {

struct File {
  std::filesystem::path directory;
  std::filesystem::path path;
  explicit File(const std::string& text, mode_t mode = 0600) {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-unit-XXXXXX").string();
    directory = ::mkdtemp(pattern.data());
    path = directory / "secrets.toml";
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
  }
  ~File() { std::filesystem::remove_all(directory); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
};

Error refusal(const std::filesystem::path& file, const std::map<std::string, std::string>& offered = {}) {
  try {
    pipeline::find_secrets({"TOKEN"}, offered, file);
  } catch (const Error& error) {
    CHECK((error.message() + error.hint()).find("hunter2") == std::string::npos);
    return error;
  }
  throw std::runtime_error("was found");
}

}  // namespace

TEST_CASE("the secrets file wins over the caller's variable, and only what was asked for is handed out") {
  const File file("# mine\nTOKEN = \"hunter2\"\nOTHER = 'x'\nLINES = \"\"\"a\nb\"\"\"\n");
  CHECK(pipeline::find_secrets({"TOKEN", "LINES"}, {{"TOKEN", "caller"}}, file.path) ==
        std::map<std::string, std::string>{{"TOKEN", "hunter2"}, {"LINES", "a\nb"}});
  CHECK(pipeline::find_secrets({"MINE"}, {{"MINE", "caller"}}, file.path).at("MINE") == "caller");
  CHECK(pipeline::find_secrets({"MINE"}, {{"MINE", ""}}, file.directory / "none.toml").at("MINE").empty());
}

TEST_CASE("without names the file is not even opened") {
  const File file("TOKEN = = broken\n", 0644);
  CHECK(pipeline::find_secrets({}, {}, file.path).empty());
}

TEST_CASE("a name found nowhere is refused with both places") {
  const File file("OTHER = 'hunter2'\n");
  const Error error = refusal(file.path);
  CHECK(error.code() == ErrorCode::kInvalid);
  CHECK(error.message() == "--secret TOKEN: neither in " + file.path.string() + " nor a variable of the caller");
}

TEST_CASE("a file that others may read or write is refused, whatever it holds") {
  for (const mode_t mode : {0640, 0604, 0620, 0601, 0666}) {
    const File file("TOKEN = 'hunter2'\n", mode);
    const Error error = refusal(file.path, {{"TOKEN", "hunter2"}});
    CHECK(error.code() == ErrorCode::kPermission);
    CHECK(error.hint() == "chmod 600 " + file.path.string());
  }
  const File file("TOKEN = 'x'\n", 0400);
  CHECK(pipeline::find_secrets({"TOKEN"}, {}, file.path).at("TOKEN") == "x");
}

TEST_CASE("what is not a regular file is refused without waiting for it") {
  const File file("");
  CHECK(refusal(file.directory).code() == ErrorCode::kPermission);
  const auto fifo = file.directory / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(refusal(fifo).code() == ErrorCode::kPermission);
}

TEST_CASE("a malformed file is named by line and column, and not quoted") {
  for (const char* text : {"\nTOKEN = hunter2\n", "\nTOKEN = 'hunter2\n", "\n'hunter2'\n", "\n[TOKEN]\nx = 'hunter2'\n",
                           "\nTOKEN = 7\n", "\nTOKEN = ['hunter2']\n"}) {
    INFO(text);
    const File file(text);
    const Error error = refusal(file.path);
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK(error.message().find(file.path.string() + ":") == 0);
  }
}

TEST_CASE("a value has at most 64 KiB and no zero byte, wherever it comes from") {
  const std::string most(pipeline::kMostSecretBytes, 'x');
  const File file("TOKEN = '" + most + "'\n");
  CHECK(pipeline::find_secrets({"TOKEN"}, {}, file.path).at("TOKEN") == most);
  const auto none = file.directory / "none.toml";
  CHECK(refusal(none, {{"TOKEN", most + "x"}}).message() == "--secret TOKEN: its value is longer than 64 KiB");
  CHECK(refusal(none, {{"TOKEN", std::string("hunter2\0", 8)}}).message() ==
        "--secret TOKEN: its value holds a zero byte");
}

TEST_CASE("the secrets file lies beside the configuration") {
  const char* before = ::getenv("XDG_CONFIG_HOME");
  const std::string kept = before ? before : "";
  ::setenv("XDG_CONFIG_HOME", "/etc/xdg-of-mine", 1);
  CHECK(pipeline::default_secrets_file() == "/etc/xdg-of-mine/runner/secrets.toml");
  ::setenv("XDG_CONFIG_HOME", "relative", 1);
  CHECK(pipeline::default_secrets_file().filename() == "secrets.toml");
  CHECK(pipeline::default_secrets_file().is_absolute());
  before ? ::setenv("XDG_CONFIG_HOME", kept.c_str(), 1) : ::unsetenv("XDG_CONFIG_HOME");
}
