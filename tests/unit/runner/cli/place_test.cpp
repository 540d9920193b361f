#include "runner/cli/place.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "runner/core/error.hpp"

using namespace runner::cli;
using runner::Error;
using runner::ErrorCode;

namespace {

// Sets a variable for one test; nullptr unsets it.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  ~Variable() { set(old_ ? old_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const char* value) { value != nullptr ? ::setenv(name_, value, 1) : ::unsetenv(name_); }
  const char* name_;
  std::optional<std::string> old_;
};

}  // namespace

TEST_CASE("the home is the option's, the variable's, XDG's or the user's, in this order") {
  const Variable home("HOME", "/home/ada");
  const Variable socket("RUNNER_SOCKET", nullptr);
  {
    const Variable xdg("XDG_DATA_HOME", nullptr);
    const Variable own("RUNNER_HOME", nullptr);
    CHECK(place_of({}).home == "/home/ada/.local/share/runner");
    CHECK(place_of({}).socket == "/home/ada/.local/share/runner/control.sock");
    CHECK(place_of({}).is_default);
  }
  const Variable xdg("XDG_DATA_HOME", "/data");
  {
    const Variable own("RUNNER_HOME", "");
    CHECK(place_of({}).home == "/data/runner");
  }
  const Variable own("RUNNER_HOME", "/mine/");
  CHECK(place_of({}).home == "/mine");
  CHECK_FALSE(place_of({}).is_default);
  GlobalOptions options;
  options.home = "/other";
  CHECK(place_of(options).home == "/other");
}

TEST_CASE("a relative XDG_DATA_HOME is ignored, a relative home is made absolute") {
  const Variable home("HOME", "/home/ada");
  const Variable xdg("XDG_DATA_HOME", "relative");
  const Variable own("RUNNER_HOME", nullptr);
  CHECK(place_of({}).home == "/home/ada/.local/share/runner");
  GlobalOptions options;
  options.home = "sub/../here";
  CHECK(place_of(options).home == std::filesystem::current_path() / "here");
}

TEST_CASE("the socket is the option's, the variable's or the home's, and at most 107 bytes long") {
  GlobalOptions options;
  options.home = "/h";
  {
    const Variable socket("RUNNER_SOCKET", "/run/x.sock");
    CHECK(place_of(options).socket == "/run/x.sock");
    CHECK_FALSE(place_of(options).is_default);
  }
  const Variable socket("RUNNER_SOCKET", nullptr);
  options.socket = "/s";
  CHECK(place_of(options).socket == "/s");
  options.socket = "/" + std::string(106, 'a');
  CHECK(place_of(options).socket.native().size() == 107);
  options.socket += "a";
  try {
    place_of(options);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_FALSE(error.hint().empty());
  }
}
