// Commands against a daemon that answers one canned line: what they send, print and return.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <thread>

#include "runner/cli/commands.hpp"
#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"

using namespace runner::cli;
using runner::os::Fd;

namespace {

// Listens on a socket of its own, answers each request of one connection in turn, then closes it.
class Daemon {
 public:
  explicit Daemon(std::vector<std::string> answers) {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-unit-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    socket = (directory_ / "s").string();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket.c_str(), socket.size() + 1);
    listening_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(listening_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listening_.get(), 1) == 0);
    thread_ = std::thread([this, answers = std::move(answers)] {
      const Fd peer(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      for (const std::string& answer : answers) {
        requests.push_back(read_request(peer));
        if (::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
      }
    });
  }
  ~Daemon() {
    join();
    std::filesystem::remove_all(directory_);
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  Session session(bool json = false) const {
    GlobalOptions options;
    options.socket = socket;
    options.home = directory_.string();
    options.no_autostart = true;
    options.json = json;
    return Session(options);
  }

  std::string socket;
  std::vector<std::string> requests;  // read after join()

 private:
  static std::string read_request(const Fd& peer) {
    std::string text;
    char byte = 0;
    while (!text.ends_with("\r\n\r\n") && ::read(peer.get(), &byte, 1) == 1) text += byte;
    const auto at = text.find("Content-Length: ");
    std::size_t left = at == std::string::npos ? 0 : std::stoul(text.substr(at + 16));
    for (; left > 0 && ::read(peer.get(), &byte, 1) == 1; --left) text += byte;
    return text;
  }

  std::filesystem::path directory_;
  Fd listening_;
  std::thread thread_;
};

std::string answer(const std::string& status, const std::string& type, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\nContent-Type: " + type + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}
std::string json_answer(const std::string& body, const std::string& status = "200 OK") {
  return answer(status, "application/json", body);
}
std::string exec_answer(const std::string& body) {
  return answer("200 OK", "application/vnd.runner.exec-stream", body);
}
std::string frame(char kind, const std::string& contents) {
  return std::string{kind, 0, 0, 0, 0, 0, 0, static_cast<char>(contents.size())} + contents;
}

// What goes to standard output, or error, meanwhile.
template <class Do>
std::string output_of(Do&& work, int descriptor = STDOUT_FILENO) {
  std::string path = (std::filesystem::temp_directory_path() / "runner-unit-XXXXXX").string();
  const Fd file(::mkostemp(path.data(), O_CLOEXEC));
  ::unlink(path.c_str());
  const Fd kept(::fcntl(descriptor, F_DUPFD_CLOEXEC, 3));
  REQUIRE(::dup2(file.get(), descriptor) >= 0);
  std::exception_ptr failed;
  try {
    work();
  } catch (...) {
    failed = std::current_exception();
  }
  ::dup2(kept.get(), descriptor);
  if (failed) std::rethrow_exception(failed);
  std::string text(4096, '\0');
  const ssize_t got = ::pread(file.get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

}  // namespace

TEST_CASE("exec sends the command, passes its output through and returns its status") {
  Daemon daemon({exec_answer(frame(1, "hi\n") + frame(2, "") + frame(3, "7"))});
  Session session = daemon.session();
  int status = -1;
  CHECK(output_of([&] { status = run(session, ExecOptions{.run = "@last", .words = {"sh", "-c", "x"}}); }) == "hi\n");
  CHECK(status == 7);
  daemon.join();
  CHECK_THAT(daemon.requests.at(0), Catch::StartsWith("POST /v1/runs/%40last/exec HTTP/1.1\r\n"));
  CHECK_THAT(daemon.requests.at(0), Catch::EndsWith("\r\n\r\n{\"command\":[\"sh\",\"-c\",\"x\"]}"));
}

TEST_CASE("a stream that ends before the command did is the runner's failure, however it ends") {
  const std::string whole = exec_answer(frame(1, "hi\n") + frame(3, "0"));
  for (const std::string& cut : {exec_answer(frame(1, "hi\n")), exec_answer(""), whole.substr(0, whole.size() - 3)}) {
    Daemon daemon({cut});
    Session session = daemon.session();
    try {
      output_of([&] { run(session, ExecOptions{.run = "x", .words = {"ls"}}); });
      FAIL("no error");
    } catch (const runner::Error& error) {
      CHECK(runner::exit_code(error.code()) == 125);
      CHECK_THAT(error.message(), Catch::Contains("ended before the command did"));
      CHECK_FALSE(error.hint().empty());
    }
  }
}

TEST_CASE("what the daemon refuses before the stream is an ordinary error") {
  Daemon daemon({json_answer(R"({"error": {"code": "conflict", "message": "run x: not running", "hint": "h"}})",
                             "409 Conflict")});
  Session session = daemon.session();
  try {
    run(session, ExecOptions{.run = "x", .words = {"ls"}});
    FAIL("no error");
  } catch (const runner::Error& error) {
    CHECK(error.code() == runner::ErrorCode::kConflict);
    CHECK(error.message() == "run x: not running");
  }
}

TEST_CASE("pause and resume print each run's new status, and go on after a failure that decides the exit code") {
  Daemon daemon({json_answer(R"({"runId": "e_1_a", "status": "Paused"})"),
                 json_answer(R"({"error": {"code": "notFound", "message": "no run b", "hint": ""}})", "404 Not Found"),
                 json_answer(R"({"runId": "e_1_c", "status": "Paused"})")});
  Session session = daemon.session();
  const std::string output = output_of([&] {
    CHECK_THROWS_WITH(run(session, PauseOptions{.runs = {"a", "b", "c"}}), "no run b");
  });
  CHECK(output == "e_1_a Paused\ne_1_c Paused\n");
  daemon.join();
  CHECK_THAT(daemon.requests.at(0), Catch::StartsWith("POST /v1/runs/a/pause HTTP/1.1\r\n"));
  CHECK_THAT(daemon.requests.at(0), Catch::EndsWith("Content-Length: 0\r\n\r\n"));
}

TEST_CASE("of several failures each is told once") {
  const auto refusal = [](const std::string& run) {
    return json_answer(R"({"error": {"code": "notFound", "message": "no run )" + run + R"(", "hint": ""}})",
                       "404 Not Found");
  };
  Daemon daemon({refusal("a"), refusal("b"), refusal("c")});
  Session session = daemon.session();
  const std::string told = output_of(
      [&] {
        CHECK_THROWS_WITH(run(session, PauseOptions{.runs = {"a", "b", "c"}}), "no run a");
      },
      STDERR_FILENO);
  CHECK(told == "runner: error: no run b\nrunner: error: no run c\n");
}

TEST_CASE("resume with --json prints the run's document") {
  Daemon daemon({json_answer(R"({"runId": "e_1_a", "status": "Running"})")});
  Session session = daemon.session(true);
  CHECK(output_of([&] { run(session, ResumeOptions{.runs = {"a"}}); }) ==
        "{\"runId\":\"e_1_a\",\"status\":\"Running\"}\n");
  daemon.join();
  CHECK_THAT(daemon.requests.at(0), Catch::StartsWith("POST /v1/runs/a/resume HTTP/1.1\r\n"));
}

namespace {

const std::string kNone = json_answer(R"({"items": [], "nextToken": null})");
const std::string kFreed = answer("200 OK", "application/x-ndjson", "{\"result\": {\"diskBytes\": 2048}}\n");

}  // namespace

TEST_CASE("delete looks all runs up before the first goes, and frees what they leave once") {
  Daemon daemon({json_answer(R"({"runId": "e_1_a"})"), json_answer(R"({"items": [{"runId": "c"}], "nextToken": null})"),
                 json_answer(R"({"runId": "e_1_b"})"), kNone, json_answer(R"({"runId": "c"})"), kNone,
                 json_answer(R"({"deleted": ["e_1_a", "c"]})"),
                 json_answer(R"({"error": {"code": "conflict", "message": "run e_1_b has not ended", "hint": ""}})",
                             "409 Conflict"),
                 kFreed});
  Session session = daemon.session();
  const std::string output = output_of([&] {
    CHECK_THROWS_WITH(run(session, DeleteOptions{.runs = {"@last", "b", "c"}, .yes = false}),
                      "run e_1_b has not ended");
  });
  CHECK(output == "e_1_a deleted, and 1 run below it\n2.0 KiB less on the disk\n");
  daemon.join();
  REQUIRE(daemon.requests.size() == 9);
  CHECK_THAT(daemon.requests.at(0), Catch::StartsWith("GET /v1/runs/%40last HTTP/1.1\r\n"));
  CHECK_THAT(daemon.requests.at(1), Catch::StartsWith("GET /v1/runs?limit=1000&parent=e_1_a&recursive=1&children=1 "));
  CHECK_THAT(daemon.requests.at(6), Catch::StartsWith("DELETE /v1/runs/e_1_a HTTP/1.1\r\n"));
  CHECK_THAT(daemon.requests.at(7), Catch::StartsWith("DELETE /v1/runs/e_1_b HTTP/1.1\r\n"));
  CHECK_THAT(daemon.requests.at(8), Catch::StartsWith("POST /v1/gc HTTP/1.1\r\n"));
  CHECK_THAT(daemon.requests.at(8), Catch::EndsWith("\r\n\r\n{\"keepCaches\":true}"));
}

TEST_CASE("what cannot be freed now is a warning of delete, not its failure") {
  Daemon daemon({json_answer(R"({"runId": "a"})"), kNone, json_answer(R"({"deleted": ["a"]})"),
                 json_answer(R"({"error": {"code": "conflict", "message": "another gc is at work", "hint": ""}})",
                             "409 Conflict")});
  Session session = daemon.session(true);
  std::string output;
  const std::string told = output_of(
      [&] { output = output_of([&] { CHECK(run(session, DeleteOptions{.runs = {"a"}, .yes = false}) == 0); }); },
      STDERR_FILENO);
  CHECK(output == "{\"deleted\":[\"a\"],\"diskBytes\":null}\n");
  CHECK(told == "runner: warning: what they have on the disk goes with the next 'runner gc': another gc is at work\n");
}

TEST_CASE("delete with nothing found deletes nothing") {
  Daemon daemon(
      {json_answer(R"({"error": {"code": "notFound", "message": "no run x", "hint": ""}})", "404 Not Found")});
  Session session = daemon.session();
  CHECK_THROWS_WITH(run(session, DeleteOptions{.runs = {"x"}, .yes = true}), "no run x");
}

TEST_CASE("children are asked for by the whole id and with what narrows them, page by page") {
  Daemon daemon({json_answer(R"({"runId": "e_1_a"})"),
                 json_answer(R"({"items": [{"runId": "y", "parentRunId": "x"}], "nextToken": "7"})"),
                 json_answer(R"({"items": [{"runId": "x", "parentRunId": "e_1_a"}], "nextToken": null})")});
  Session session = daemon.session();
  const ChildrenOptions options{
      .run = "@last", .status = "Failed", .kind = "child", .tags = {"k=v"}, .properties = {}, .recursive = true};
  const std::string output = output_of([&] { CHECK(run(session, options) == 0); });
  CHECK_THAT(output, Catch::Contains("\nx\n  y\n"));
  daemon.join();
  const std::string asked = "&status=Failed&kind=child&tag=k%3Dv&parent=e_1_a&recursive=1&children=1";
  CHECK_THAT(daemon.requests.at(1), Catch::StartsWith("GET /v1/runs?limit=1000" + asked + " HTTP/1.1\r\n"));
  CHECK_THAT(daemon.requests.at(2), Catch::StartsWith("GET /v1/runs?limit=1000" + asked + "&nextToken=7 HTTP/1.1\r\n"));
}
