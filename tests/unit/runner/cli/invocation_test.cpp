// From words to options: what belongs to the command, what to the script, and what is wrong usage.
#include "runner/cli/invocation.hpp"

#include <catch2/catch.hpp>

#include "runner/core/error.hpp"

using namespace runner::cli;
using runner::Error;
using runner::ErrorCode;
using Words = std::vector<std::string>;

namespace {

Command parse(const Words& words) {
  GlobalOptions global;
  return parse_invocation(words, global);
}

template <class Options>
Options parse_as(const Words& words) {
  const Command command = parse(words);
  REQUIRE(std::holds_alternative<Options>(command));
  return std::get<Options>(command);
}

Error error_of(const Words& words) {
  GlobalOptions global;
  try {
    parse_invocation(words, global);
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error");
  throw;
}

}  // namespace

TEST_CASE("SCRIPT and everything behind it belong to the script") {
  const auto o = parse_as<SubmitOptions>({"submit", "-e", "diabetes", "--tag", "a=b=c", "--tag", "fast", "train.py",
                                          "--json", "--home", "x", "-e", "y", "--", "--help"});
  CHECK(o.experiment == "diabetes");
  CHECK(o.tags == std::vector<KeyValue>{{"a", "b=c"}, {"fast", std::nullopt}});
  CHECK(o.words == Words{"train.py", "--json", "--home", "x", "-e", "y", "--", "--help"});
}

TEST_CASE("a double dash ends the options, so that a script's name may begin with one") {
  CHECK(parse_as<SubmitOptions>({"submit", "--detach", "--", "-odd.py", "-x"}).words == Words{"-odd.py", "-x"});
  CHECK(parse_as<SubmitOptions>({"submit", "--", "train.py", "--", "x"}).words == Words{"train.py", "--", "x"});
}

TEST_CASE("values may be attached or apart, and a value may look like an option") {
  const auto o =
      parse_as<SubmitOptions>({"submit", "--experiment=a", "--name", "-odd", "-cconf", "--python=/p", "s.py"});
  CHECK(o.experiment == "a");
  CHECK(o.name == "-odd");
  CHECK(o.config == "conf");
  CHECK(o.python == "/p");
  CHECK(o.words == Words{"s.py"});
}

TEST_CASE("every option of submit arrives") {
  const auto o = parse_as<SubmitOptions>({"submit",
                                          "-c",
                                          "c",
                                          "--name",
                                          "n",
                                          "--property",
                                          "k=v",
                                          "--parent",
                                          "p",
                                          "--source-dir",
                                          "d",
                                          "--isolation",
                                          "docker",
                                          "--image",
                                          "python:3.11",
                                          "--secret",
                                          "A",
                                          "--secret=B",
                                          "--max-run-duration",
                                          "90s",
                                          "--grace",
                                          "1s",
                                          "--cpus",
                                          "2",
                                          "--memory",
                                          "2g",
                                          "--pids",
                                          "9",
                                          "--shm-size",
                                          "1g",
                                          "--network",
                                          "off",
                                          "--mount",
                                          "/a:/b",
                                          "--mount",
                                          "/c:/d:rw",
                                          "-E",
                                          "A=1",
                                          "-E",
                                          "B",
                                          "--env-var",
                                          "C=",
                                          "--priority",
                                          "-3",
                                          "--async",
                                          "--idempotency-key",
                                          "key",
                                          "s.py"});
  CHECK(o.config == "c");
  CHECK(o.name == "n");
  CHECK(o.properties == std::vector<KeyValue>{{"k", "v"}});
  CHECK(o.parent == "p");
  CHECK(o.source_directory == "d");
  CHECK(o.isolation == "docker");
  CHECK(o.image == "python:3.11");
  CHECK(o.secrets == Words{"A", "B"});
  CHECK(o.max_run_duration == "90s");
  CHECK(o.grace == "1s");
  CHECK(o.cpus == "2");
  CHECK(o.memory == "2g");
  CHECK(o.pids == "9");
  CHECK(o.shm_size == "1g");
  CHECK(o.network == "off");
  CHECK(o.mounts == Words{"/a:/b", "/c:/d:rw"});
  CHECK(o.environment_variables == std::vector<KeyValue>{{"A", "1"}, {"B", std::nullopt}, {"C", ""}});
  CHECK(o.priority == -3);
  CHECK(o.detach);
  CHECK(o.idempotency_key == "key");
}

TEST_CASE("--command turns the words into a command") {
  const auto o = parse_as<SubmitOptions>({"submit", "--command", "echo hi; exit 3"});
  CHECK(o.command);
  CHECK(o.words == Words{"echo hi; exit 3"});
  CHECK(parse_as<SubmitOptions>({"submit", "--command", "--detach", "--", "-x", "y"}).words == Words{"-x", "y"});
  CHECK(error_of({"submit", "--command"}).code() == ErrorCode::kInvalid);
}

TEST_CASE("a script is needed unless a runconfig may name it") {
  CHECK(error_of({"submit"}).code() == ErrorCode::kInvalid);
  CHECK(parse_as<SubmitOptions>({"submit", "-c", "diabetes"}).words.empty());
}

TEST_CASE("submit also answers to its Azure name") {
  const auto o = parse_as<SubmitOptions>({"run", "submit-script", "-c", "diabetes", "-e", "x", "--async", "train.py"});
  CHECK(o.config == "diabetes");
  CHECK(o.detach);
}

TEST_CASE("global options count before and after the command") {
  for (const Words& words : {Words{"--json", "--home", "/h", "--socket=/s", "--no-autostart", "ls"},
                             Words{"ls", "--json", "--home=/h", "--socket", "/s", "--no-autostart"},
                             Words{"--json", "run", "--home", "/h", "list", "--socket", "/s", "--no-autostart"}}) {
    GlobalOptions global;
    const Command command = parse_invocation(words, global);
    CHECK(std::holds_alternative<ListOptions>(command));
    CHECK(global.json);
    CHECK(global.home == "/h");
    CHECK(global.socket == "/s");
    CHECK(global.no_autostart);
  }
}

TEST_CASE("a wrong command line still says that its error must be JSON") {
  for (const Words& words :
       {Words{"--json", "nonsense"}, Words{"ls", "--json", "--nonsense"}, Words{"ls", "--nonsense", "--json"},
        Words{"submit", "--gpu", "all", "--json", "x.py"}, Words{"submit", "--json", "--tag", "=x", "s.py"}}) {
    GlobalOptions global;
    CHECK_THROWS_AS(parse_invocation(words, global), Error);
    CHECK(global.json);
  }
  GlobalOptions global;
  CHECK_THROWS_AS(parse_invocation(Words{"submit", "--tag", "=x", "s.py", "--json"}, global), Error);
  CHECK_FALSE(global.json);  // the script's own
}

TEST_CASE("list options") {
  const auto o =
      parse_as<ListOptions>({"run", "list", "-e", "e", "--last", "3", "--status", "failed", "--tag", "a", "--tag",
                             "b=c", "--property", "p=q", "--parent", "@last", "--since", "2h", "--children"});
  CHECK(o.experiment == "e");
  CHECK(o.last == 3);
  CHECK(o.status == "failed");
  CHECK(o.tags == Words{"a", "b=c"});
  CHECK(o.properties == Words{"p=q"});
  CHECK(o.parent == "@last");
  CHECK(o.since == "2h");
  CHECK(o.children);
  CHECK(parse_as<ListOptions>({"ls", "--all"}).all);
  CHECK(parse_as<ListOptions>({"ls"}).last == 10);
  CHECK(error_of({"ls", "--last", "0"}).code() == ErrorCode::kInvalid);
  CHECK(error_of({"ls", "--last", "x"}).code() == ErrorCode::kInvalid);
  CHECK(error_of({"ls", "--last", "3", "--all"}).code() == ErrorCode::kInvalid);
}

TEST_CASE("a run is named by position or, as in the Azure CLI, by -r") {
  CHECK(parse_as<ShowOptions>({"show", "@last"}).run == "@last");
  CHECK(parse_as<ShowOptions>({"run", "show", "-r", "abc"}).run == "abc");
  CHECK(parse_as<CancelOptions>({"cancel", "-r", "abc"}).runs == Words{"abc"});
  CHECK(parse_as<WaitOptions>({"wait", "a", "b", "c"}).runs == Words{"a", "b", "c"});
  CHECK(error_of({"show"}).code() == ErrorCode::kInvalid);
  CHECK(error_of({"show", "a", "b"}).message().find("'b'") != std::string::npos);
}

TEST_CASE("logs, files, download, metrics, children") {
  const auto logs = parse_as<LogsOptions>({"run", "monitor-logs", "-f", "--name", "logs/a.csv", "--offset", "7", "x"});
  CHECK(logs.run == "x");
  CHECK(logs.follow);
  CHECK(logs.file == "logs/a.csv");
  CHECK(logs.offset == 7);
  const auto files = parse_as<FilesOptions>({"run", "files", "x", "outputs/"});
  CHECK(files.run == "x");
  CHECK(files.prefix == "outputs/");
  const auto download = parse_as<DownloadOptions>({"run", "download", "x", "outputs/a", "logs", "-d", "to"});
  CHECK(download.run == "x");
  CHECK(download.names == Words{"outputs/a", "logs"});
  CHECK(download.directory == "to");
  CHECK(parse_as<DownloadOptions>({"run", "download", "x"}).directory == ".");
  CHECK(parse_as<DownloadOptions>({"run", "download", "-r", "x", "outputs/a"}).names == Words{"outputs/a"});
  CHECK(parse_as<MetricsOptions>({"run", "metrics", "x", "--name", "mse"}).name == "mse");
  const auto children = parse_as<ChildrenOptions>(
      {"run", "children", "x", "--recursive", "--tag", "a", "--tag", "b=c", "--status", "Failed", "--kind", "child"});
  CHECK(children.run == "x");
  CHECK(children.recursive);
  CHECK(children.tags == Words{"a", "b=c"});
  CHECK(children.status == "Failed");
  CHECK(children.kind == "child");
}

TEST_CASE("delete takes runs, and asks unless it is told not to") {
  CHECK(parse_as<DeleteOptions>({"run", "delete", "a", "b"}).runs == Words{"a", "b"});
  CHECK_FALSE(parse_as<DeleteOptions>({"run", "delete", "a"}).yes);
  CHECK(parse_as<DeleteOptions>({"run", "delete", "-r", "a", "-y"}).yes);
  CHECK(parse_as<DeleteOptions>({"run", "delete", "--yes", "a"}).yes);
  CHECK(error_of({"run", "delete"}).message() == "run delete: RUN is missing");
}

TEST_CASE("pause and resume take runs as cancel does") {
  CHECK(parse_as<PauseOptions>({"run", "pause", "a", "b"}).runs == Words{"a", "b"});
  CHECK(parse_as<ResumeOptions>({"run", "resume", "-r", "a"}).runs == Words{"a"});
  CHECK(error_of({"run", "pause"}).message() == "run pause: RUN is missing");
}

TEST_CASE("behind exec's RUN everything belongs to the command") {
  for (const Words& words : {Words{"run", "exec", "x", "--", "ls", "--json", "-h", "--", "-r"},
                             Words{"run", "exec", "x", "ls", "--json", "-h", "--", "-r"},
                             Words{"run", "exec", "-r", "x", "--", "ls", "--json", "-h", "--", "-r"},
                             Words{"run", "exec", "--home", "/h", "-rx", "ls", "--json", "-h", "--", "-r"}}) {
    const auto o = parse_as<ExecOptions>(words);
    CHECK(o.run == "x");
    CHECK(o.words == Words{"ls", "--json", "-h", "--", "-r"});
  }
  CHECK(error_of({"run", "exec"}).message() == "run exec: RUN is missing");
  CHECK(error_of({"run", "exec", "x"}).message() == "run exec: the command is missing");
  CHECK(error_of({"run", "exec", "x", "--"}).message() == "run exec: the command is missing");
  for (const Words& words : {Words{"run", "exec", "--json", "x", "ls"}, Words{"--json", "run", "exec", "x", "ls"}})
    CHECK(error_of(words).message() == "run exec: exec has no --json");
}

TEST_CASE("daemon and the rest") {
  CHECK(std::holds_alternative<DaemonStartOptions>(parse({"daemon", "start"})));
  CHECK(parse_as<DaemonStopOptions>({"daemon", "stop", "--cancel-runs"}).cancel_runs);
  CHECK(std::holds_alternative<DaemonStatusOptions>(parse({"daemon", "status"})));
  CHECK(std::holds_alternative<DaemonLogsOptions>(parse({"daemon", "logs"})));
  CHECK(std::holds_alternative<DoctorOptions>(parse({"doctor"})));
  CHECK(std::holds_alternative<ExperimentListOptions>(parse({"experiment", "list"})));
  CHECK(std::holds_alternative<VersionOptions>(parse({"--version"})));
}

TEST_CASE("help is a command of its own and lists what there is") {
  CHECK(parse_as<HelpOptions>({"--help"}).text.find("submit") != std::string::npos);
  CHECK(parse_as<HelpOptions>({"run", "--help"}).text.find("run download") != std::string::npos);
  const auto help = parse_as<HelpOptions>({"submit", "--help"}).text;
  CHECK(help.find("--max-run-duration") != std::string::npos);
  CHECK(help.find("--no-autostart") != std::string::npos);
  CHECK(help.find("sandbox, docker (with an image or a Dockerfile)") != std::string::npos);
  CHECK(help.find("runner submit --image") != std::string::npos);
}

TEST_CASE("unknown words are wrong usage and name the nearest right one") {
  CHECK(error_of({}).code() == ErrorCode::kInvalid);
  CHECK(error_of({"run"}).code() == ErrorCode::kInvalid);
  CHECK(error_of({"sumbit", "x.py"}).hint() == "did you mean 'runner submit'?");
  CHECK(error_of({"run", "lst"}).hint() == "did you mean 'runner run list'?");
  CHECK(error_of({"download", "x"}).hint() == "did you mean 'runner run download'?");
  CHECK(error_of({"ls", "--lasst", "3", "4"}).message() == "ls: '--lasst': unknown option");
  CHECK(error_of({"show"}).message() == "show: RUN is missing");
  CHECK(error_of({"frobnicate"}).hint() == "'runner --help' lists the commands");
  CHECK(error_of({"--jsno", "ls"}).hint() == "did you mean '--json'?");
  CHECK(error_of({"ls", "--lasst", "3"}).hint() == "did you mean '--last'?");
  CHECK(error_of({"submit", "--query", "x", "s.py"}).message() == "submit: '--query': unknown option");
  CHECK(error_of({"ls", "--conda", "x"}).message() == "ls: '--conda': unknown option");
}

TEST_CASE("malformed values are wrong usage") {
  for (const Words& words : {Words{"submit", "--tag", "=v", "s.py"}, Words{"submit", "--tag", "", "s.py"},
                             Words{"submit", "--property", "k", "s.py"}, Words{"submit", "-E", "=x", "s.py"},
                             Words{"submit", "--priority", "high", "s.py"}, Words{"submit", "--tag"},
                             Words{"ls", "--home"}, Words{"--home"}, Words{"logs", "x", "--offset", "-1"}}) {
    INFO(words.back());
    CHECK(error_of(words).code() == ErrorCode::kInvalid);
  }
}

TEST_CASE("an empty word is an error wherever it stands") {
  for (const Words& words : {Words{"queue", "move", "a", "", "-=b"}, Words{"queue", "move", "", "--first"},
                             Words{"run", "diff", "a", "b", "", "-=b"}, Words{"run", "diff", "", "b", "--code"}})
    CHECK(error_of(words).code() == ErrorCode::kInvalid);
}
