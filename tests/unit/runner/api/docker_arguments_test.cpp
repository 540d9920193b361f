#include "runner/api/docker_arguments.hpp"

#include <stdio.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <regex>

#include "runner/core/error.hpp"

namespace runner::api {
namespace {

using Catch::Contains;
using Words = std::vector<std::string>;

DockerArguments parse(const Words& words) { return parse_docker_arguments(words, "x.runconfig:7: docker.arguments"); }

Error failure(const Words& words) {
  try {
    parse(words);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_THAT(error.message(), Catch::StartsWith("x.runconfig:7: docker.arguments: "));
    CHECK_FALSE(error.hint().empty());
    return error;
  }
  FAIL("accepted: " << (words.empty() ? "" : words.front()));
  throw;
}

// What `docker run --help` prints; empty: there is no docker here.
std::string docker_help() {
  std::string text;
  FILE* pipe = ::popen("docker run --help 2>/dev/null", "r");
  if (pipe == nullptr) return text;
  std::array<char, 4096> buffer{};
  for (std::size_t got = 0; (got = ::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    text.append(buffer.data(), got);
  return ::pclose(pipe) == 0 ? text : std::string();
}

}  // namespace

TEST_CASE("limits, variables and mounts become the run's own settings") {
  const auto taken = parse({"--shm-size", "2g", "-m", "4g", "--cpus=1.5", "--pids-limit", "100", "-e", "X=1", "-eY=a=b",
                            "--env=Z=", "-v", "/a:/b:ro", "--volume=/c:/d", "-v/e:/f:rw,cached", "--mount",
                            "type=bind,src=/g,dst=/h,readonly", "--mount", "type=bind,source=/i,target=/j"});
  CHECK(taken.shm_bytes == 2LL << 30);
  CHECK(taken.memory_bytes == 4LL << 30);
  CHECK(taken.cpus == 1.5);
  CHECK(taken.pids == 100);
  CHECK(taken.environment_variables == std::map<std::string, std::string>{{"X", "1"}, {"Y", "a=b"}, {"Z", ""}});
  // Without a mode docker writes; the text says so, since a run's own default is to read only.
  CHECK(taken.mounts == Words{"/a:/b:ro", "/c:/d:rw", "/e:/f:rw", "/g:/h:ro", "/i:/j:rw"});
  CHECK_FALSE(parse({"--pids-limit=100", "--pids-limit", "-1"}).pids.has_value());
}

TEST_CASE("what only a container has becomes an option of the Engine") {
  const auto engine = parse({"--ulimit",
                             "nofile=1024:2048",
                             "--ulimit=memlock=-1",
                             "--hostname",
                             "box",
                             "--add-host",
                             "db:10.0.0.1",
                             "--add-host=gw=host-gateway",
                             "--dns",
                             "9.9.9.9",
                             "--dns-search",
                             "x.org",
                             "--dns-option=ndots:1",
                             "-l",
                             "team=ml",
                             "--label",
                             "bare",
                             "--tmpfs",
                             "/t:size=1m",
                             "--mount=type=tmpfs,target=/u,tmpfs-size=2m",
                             "--cpuset-cpus",
                             "0-2,4",
                             "-c",
                             "512",
                             "--memory-reservation",
                             "1g"})
                          .engine;
  REQUIRE(engine.ulimits.size() == 2);
  CHECK(engine.ulimits[0].name == "nofile");
  CHECK(engine.ulimits[0].soft == 1024);
  CHECK(engine.ulimits[0].hard == 2048);
  CHECK(engine.ulimits[1].hard == -1);
  CHECK(engine.hostname == "box");
  CHECK(engine.extra_hosts == Words{"db:10.0.0.1", "gw:host-gateway"});
  CHECK(engine.dns == Words{"9.9.9.9"});
  CHECK(engine.dns_search == Words{"x.org"});
  CHECK(engine.dns_options == Words{"ndots:1"});
  CHECK(engine.labels == std::map<std::string, std::string>{{"team", "ml"}, {"bare", ""}});
  CHECK(engine.tmpfs == std::map<std::string, std::string>{{"/t", "size=1m"}, {"/u", "size=2m"}});
  CHECK(engine.cpuset_cpus == "0-2,4");
  CHECK(engine.cpu_shares == 512);
  CHECK(engine.memory_reservation == 1LL << 30);
}

TEST_CASE("GPUs are asked for as with docker run, quotes and all") {
  CHECK(parse({"--gpus", "all"}).gpus == "all");
  CHECK(parse({"--gpus=2"}).gpus == "2");
  CHECK(parse({"--gpus", "\"device=0,GPU-b\""}).gpus == "device=0,GPU-b");
  CHECK_THAT(failure({"--gpus", "all,capabilities=utility"}).message(), Contains("is not all, a number of GPUs"));
}

TEST_CASE("a network is none, the host's or one of the Engine's, and the last word counts") {
  const auto none = parse({"--network=none"});
  CHECK(none.network == false);
  CHECK(none.engine.network.empty());
  const auto host = parse({"--network", "none", "--net", "host"});
  CHECK(host.network == true);
  CHECK(host.engine.network == "host");
  CHECK_FALSE(parse({}).network.has_value());
  CHECK_THAT(failure({"--network", "container:other"}).message(), Contains("only the name of a network"));
}

TEST_CASE("what is true of every run is accepted, its opposite is not") {
  CHECK_NOTHROW(parse({"--rm", "--init", "--rm=true"}));
  CHECK_THAT(failure({"--rm=false"}).message(), Contains("always removed"));
}

TEST_CASE("what would undo the isolation or belongs to the runner is refused by name") {
  for (const char* name : {"--privileged", "--cap-add", "--security-opt", "--user", "--entrypoint", "--workdir",
                           "--name", "--restart", "--log-driver", "--pid", "--ipc", "--userns", "--device", "--runtime",
                           "--volumes-from", "--interactive", "--tty", "--detach", "--pull"}) {
    CHECK_THAT(failure({name, "x"}).message(), Contains(std::string(name) + " is refused: "));
    CHECK_THAT(failure({std::string(name) + "=x"}).message(), Contains(std::string(name) + " is refused: "));
  }
  for (const char* word : {"-it", "-d", "-u1000", "-w", "-p", "-P", "-a", "-q", "-t"})
    CHECK_THAT(failure({word, "x"}).message(), Contains(std::string(word, 2) + " is refused: "));
  CHECK_THAT(failure({"--label", "runner.run=x"}).message(), Contains("the runner's own"));
}

TEST_CASE("options of docker build are told from unknown ones, and a slip is recognised") {
  for (const char* word : {"--build-arg", "--no-cache", "--target=x", "--squash", "--tag", "-f"})
    CHECK_THAT(failure({word, "x"}).message(), Contains("belongs to docker build"));
  CHECK(failure({"--shm-sise", "2g"}).hint() == "did you mean --shm-size?");
  CHECK(failure({"--privilegd"}).hint() == "did you mean --privileged?");
  CHECK_THAT(failure({"--frobnicate"}).message(), Contains("--frobnicate: unknown option"));
  CHECK_THAT(failure({"-Z"}).message(), Contains("-Z: unknown option"));
}

TEST_CASE("words that are no options and options without a value are refused") {
  CHECK_THAT(failure({"ubuntu"}).message(), Contains("'ubuntu': not an option"));
  CHECK_THAT(failure({"--"}).message(), Contains("'--': not an option"));
  CHECK_THAT(failure({""}).message(), Contains("not an option"));
  CHECK_THAT(failure({"--shm-size"}).message(), Contains("--shm-size: a value is missing"));
  CHECK_THAT(failure({"-e"}).message(), Contains("-e: a value is missing"));
  CHECK_THAT(failure({"--shm-size 2g"}).message(), Contains("two items"));
  CHECK_THAT(failure({"-e X=1"}).message(), Contains("two items"));
}

TEST_CASE("values are judged before a container exists") {
  for (const Words& words : {Words{"-e", "X"},
                             Words{"-e", "=1"},
                             Words{"--shm-size", "much"},
                             Words{"-m=x"},
                             Words{"--cpus", "none"},
                             Words{"--cpus", "0"},
                             Words{"--pids-limit", "-2"},
                             Words{"--cpu-shares", "1"},
                             Words{"--ulimit", "nofile"},
                             Words{"--ulimit", "files=3"},
                             Words{"--ulimit", "nofile=x"},
                             Words{"--ulimit", "nofile=5:4"},
                             Words{"--ulimit", "nofile=1:2:3"},
                             Words{"--ulimit", "nofile=-1:4"},
                             Words{"--cpuset-cpus", "2-1"},
                             Words{"--cpuset-cpus", ""},
                             Words{"--cpuset-cpus", "0,,1"},
                             Words{"--add-host", "db"},
                             Words{"--add-host", "db:nowhere"},
                             Words{"--add-host", ":10.0.0.1"},
                             Words{"--dns", "resolver"},
                             Words{"--dns-search="},
                             Words{"--tmpfs", "scratch"},
                             Words{"--hostname", "a b"},
                             Words{"-v", "/only"},
                             Words{"-v", "data:/x"},
                             Words{"-v", "/a:b"},
                             Words{"-v", "/a:/b:shared"},
                             Words{"-v", "/a:/b:ro:z"},
                             Words{"--mount", "src=/a,dst=/b"},
                             Words{"--mount", "type=bind,src=/a"},
                             Words{"--mount", "type=bind,dst=/a"},
                             Words{"--mount", "type=bind,src=/a,dst=/b,volume-opt=x"},
                             Words{"--mount", "type=bind,src=/a:b,dst=/b"},
                             Words{"--mount", "type=tmpfs,dst=/a,src=/b"},
                             Words{"--mount", "type=bind,src=/a,dst=/b,tmpfs-size=1"}}) {
    INFO(words.front() << " " << words.back());
    failure(words);
  }
}

TEST_CASE("every option docker run prints is taken, accepted or refused by name") {
  const std::string help = docker_help();
  if (help.empty()) {
    if (const char* strict = std::getenv("RUNNER_STRICT"); strict && std::string(strict) == "1")
      FAIL("docker is not installed");
    WARN("skipped: docker is not installed");
    return;
  }
  // "  -e, --env list   Set …": letter, name, the word for its value.
  const std::regex line(R"(\n  (?:-(\w),|   ) --([a-z0-9-]+)( [a-z][a-z0-9-]*)? )");
  std::size_t options = 0;
  for (auto at = std::sregex_iterator(help.begin(), help.end(), line); at != std::sregex_iterator(); ++at) {
    ++options;
    const std::string letter = (*at)[1], name = (*at)[2];
    Words spellings{"--" + name};
    if (!letter.empty()) spellings.push_back("-" + letter);
    for (const std::string& spelling : spellings) {
      INFO(spelling);
      try {
        parse({spelling});  // without a value: those that need one say so
      } catch (const Error& error) {
        CHECK(error.message().find("unknown") == std::string::npos);
        CHECK(error.message().find("docker build") == std::string::npos);
        if (error.message().find("a value is missing") != std::string::npos)
          CHECK((*at)[3].matched);
        else
          CHECK(error.message().find(" is refused: ") != std::string::npos);
      }
    }
  }
  CHECK(options > 90);  // 104 in version 28: the expression still reads what docker prints
}

}  // namespace runner::api
