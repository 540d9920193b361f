// What the clients are told. The real programs are no packages of Debian: the argument vectors are held against their
// documentation here, and a scripted stand-in plays them.
#include "envs/conda_commands.hpp"

#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "envs/builders.hpp"
#include "envs/conda_channel.hpp"
#include "envs/conda_prefix.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"

using namespace runner;
using namespace runner::envs;
namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

namespace {

class Scratch {
 public:
  Scratch() {
    std::string pattern = (fs::temp_directory_path() / "runner-conda-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Scratch() { os::remove_tree(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

const LockedPackage kNumpy{.manager = "conda",
                           .name = "numpy",
                           .version = "1.26.4",
                           .build = "py311_0",
                           .channel = "https://host/chan",
                           .url = "https://host/chan/linux-64/numpy-1.26.4-py311_0.conda",
                           .hash = "sha256:abcd"};

CondaCommand command_of(CondaFlavour flavour, const Scratch& scratch, int major = 1) {
  return {.client = {.flavour = flavour, .program = "/opt/client", .name = "client 1.0", .major = major},
          .prefix = "/home/env/prefix",
          .cache = "/home/cache",
          .scratch = scratch.path(),
          .channels = {"https://host/chan", "conda-forge"},
          .specs = {"numpy=1.26", "python"},
          .credentials = {{"https://host/chan", "https://me:secret@host/chan"}},
          .virtual_packages = {{"glibc", "2.28"}},
          .variables = {{"PATH", "/usr/bin"}}};
}

std::string in(const Scratch& scratch, const std::string& name) { return os::read_file(scratch.path() / name); }

void no_secret_is_visible(const Tool& tool, const Scratch& scratch) {
  for (const std::string& argument : tool.arguments) CHECK(argument.find("secret") == std::string::npos);
  for (const auto& entry : fs::directory_iterator(scratch.path())) {
    struct stat status {};
    REQUIRE(::stat(entry.path().c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
  }
}

}  // namespace

TEST_CASE("micromamba and mamba 2 make a prefix from an environment file, of these channels only") {
  for (const auto flavour : {CondaFlavour::kMicromamba, CondaFlavour::kMamba}) {
    const Scratch scratch;
    const Tool tool = conda_tool(command_of(flavour, scratch, 2));
    CHECK(tool.arguments == Texts{"/opt/client", "create", "--yes", "--prefix", "/home/env/prefix", "--file",
                                  scratch.path() / "environment.yml", "--override-channels"});
    const std::string file = in(scratch, "environment.yml");
    CHECK(file.find("https://me:secret@host/chan") < file.find("conda-forge"));
    CHECK(file.find("\"numpy=1.26\"") != std::string::npos);
    CHECK(tool.variables.at("CONDA_OVERRIDE_GLIBC") == "2.28");
    CHECK(tool.variables.at("CONDA_PKGS_DIRS") == "/home/cache/pkgs");
    no_secret_is_visible(tool, scratch);
  }
}

TEST_CASE("conda and mamba 1 make a prefix with `env create`, without the channels of .condarc") {
  const Scratch scratch;
  const Tool tool = conda_tool(command_of(CondaFlavour::kConda, scratch, 23));
  CHECK(tool.arguments == Texts{"/opt/client", "env", "create", "--prefix", "/home/env/prefix", "--file",
                                scratch.path() / "environment.yml"});
  CHECK(in(scratch, "environment.yml").find("\"nodefaults\"") != std::string::npos);
  CHECK(tool.variables.at("CONDA_ALWAYS_YES") == "true");
  no_secret_is_visible(tool, scratch);
  CHECK(conda_tool(command_of(CondaFlavour::kMamba, scratch, 1)).arguments == tool.arguments);
}

TEST_CASE("a lock is an explicit file with hashes") {
  const Scratch scratch;
  CondaCommand command = command_of(CondaFlavour::kConda, scratch);
  command.packages = {kNumpy};
  command.offline = true;
  const Tool tool = conda_tool(command);
  CHECK(tool.arguments == Texts{"/opt/client", "create", "--yes", "--prefix", "/home/env/prefix", "--file",
                                scratch.path() / "explicit.txt", "--offline"});
  CHECK(in(scratch, "explicit.txt") ==
        "@EXPLICIT\nhttps://me:secret@host/chan/linux-64/numpy-1.26.4-py311_0.conda#sha256:abcd\n");
  no_secret_is_visible(tool, scratch);
  command.packages[0].hash = "md5:12";
  conda_tool(command);
  CHECK(in(scratch, "explicit.txt").ends_with(".conda#12\n"));
}

TEST_CASE("rattler gets specs and channels as arguments and credentials in a file") {
  const Scratch scratch;
  CondaCommand command = command_of(CondaFlavour::kRattler, scratch);
  const Tool tool = conda_tool(command);
  CHECK(tool.arguments == Texts{"/opt/client", "create", "--target-prefix", "/home/env/prefix", "--channel",
                                "https://host/chan", "--channel", "conda-forge", "--virtual-package", "__glibc=2.28",
                                "numpy=1.26", "python"});
  CHECK(in(scratch, "credentials.json") == R"({"host":{"BasicHTTP":{"password":"secret","username":"me"}}})");
  CHECK(tool.variables.at("RATTLER_AUTH_FILE") == scratch.path() / "credentials.json");
  no_secret_is_visible(tool, scratch);
  command.packages = {kNumpy};
  const Texts locked = conda_tool(command).arguments;
  CHECK(locked.back() == kNumpy.url);
  CHECK(std::find(locked.begin(), locked.end(), "--no-deps") != locked.end());
}

TEST_CASE("py-rattler gets a request in a file") {
  const Scratch scratch;
  const Tool tool = conda_tool(command_of(CondaFlavour::kPyRattler, scratch));
  CHECK(tool.arguments ==
        Texts{"/opt/client", "-I", scratch.path() / "rattler_client.py", scratch.path() / "request.json"});
  CHECK(in(scratch, "rattler_client.py") == os::read_file(std::string(RUNNER_SOURCE_DIR) + "/envs/rattler_client.py"));
  no_secret_is_visible(tool, scratch);
}

TEST_CASE("channels are the file's, conda-forge without any, never a client's own") {
  CHECK(effective_channels({}) == Texts{"conda-forge"});
  CHECK(effective_channels({"nodefaults"}) == Texts{"conda-forge"});
  CHECK(effective_channels({"a", "nodefaults", "b"}) == Texts{"a", "b"});
  CHECK(effective_channels({"defaults"}) ==
        Texts{"https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"});
}

TEST_CASE("credentials belong to the URL they were given for and what is below it") {
  const std::map<std::string, std::string> known{{"https://h/a", "https://u:1@h/a"},
                                                 {"https://h/a/b", "https://u:2@h/a/b"}};
  CHECK(with_credentials("https://h/a/x.conda", known) == "https://u:1@h/a/x.conda");
  CHECK(with_credentials("https://h/a/b/x.conda", known) == "https://u:2@h/a/b/x.conda");
  CHECK(with_credentials("https://h/ab/x.conda", known) == "https://h/ab/x.conda");
  CHECK(with_credentials("conda-forge", known) == "conda-forge");
}

TEST_CASE("a package's own channel gets its credentials back") {
  const Scratch scratch;
  CondaCommand command = command_of(CondaFlavour::kMicromamba, scratch);
  command.specs = {"https://host/chan::greeting=1", "hello[channel='https://host/chan', build=*_0]",
                   "https://host/chan/noarch/a-1-0.conda", "https://host/channel::other"};
  conda_tool(command);
  const std::string file = in(scratch, "environment.yml");
  for (const char* spec :
       {"\"https://me:secret@host/chan::greeting=1\"", "\"hello[channel='https://me:secret@host/chan', build=*_0]\"",
        "\"https://me:secret@host/chan/noarch/a-1-0.conda\"", "\"https://host/channel::other\""})
    CHECK_THAT(file, Catch::Contains(spec));
}

TEST_CASE("variables in a channel are the caller's") {
  CHECK(with_variables("https://${USER}:${TOKEN}@h/a", {{"USER", "me"}, {"TOKEN", "1"}}) == "https://me:1@h/a");
  CHECK(with_variables("https://h/${", {}) == "https://h/${");
  CHECK_THROWS_WITH(with_variables("https://h/t/${TOKEN}/a", {}),
                    "https://h/t/${TOKEN}/a: the variable TOKEN is not set");
  CHECK(without_channel_credentials("https://h/t/${TOKEN}/a").url == "https://h/t/${TOKEN}/a");
  CHECK(without_channel_credentials("https://h/t/abc/a").url == "https://h/a");
  CHECK(without_channel_credentials("https://h/t/abc/t/def/a").url == "https://h/a");
  CHECK(channel_secrets("https://h/t/abc/t/defg/a") == std::vector<std::string>{"defg", "abc"});
  CHECK(without_channel_credentials("https://h/a/t/abc/a").url == "https://h/a/t/abc/a");
  CHECK(without_channel_credentials("file:///t/abc/a").url == "file:///t/abc/a");
}

namespace {

// Plays micromamba: notes its arguments, and makes a prefix whose record holds whatever the environment file's first
// channel was. `MODE` decides what goes wrong.
constexpr const char* kStandIn = R"SH(#!/bin/sh
if [ "$1" = --version ]; then echo 1.5.8; exit 0; fi
echo "$@" >> "$HERE/calls"
case "$MODE $*" in
  missing-offline*--offline*) echo 'error    package not found in cache'; exit 1;;
  no-network*--offline*) ;;
  no-network*) echo 'error    Download error (6) Could not resolve hostname [https://host]'; exit 1;;
  unsolvable*) printf 'error    libmamba Could not solve for environment specs\n    nothing provides nope\n'; exit 1;;
  full*) echo 'critical libmamba write failed: No space left on device'; exit 1;;
esac
mkdir -p "$4/conda-meta" "$4/bin"
echo '#!/bin/sh' > "$4/bin/python"; chmod +x "$4/bin/python"
url=$(sed -n 's/.*\(https:.*secret@host\/chan\).*/\1/p' "$6" | head -n 1)
printf '{"name":"%s","version":"1.26.4","build":"py311_0","channel":"https://host/chan/linux-64","url":"%s/linux-64/numpy-1.26.4-py311_0.conda","sha256":"%s"}' \
  numpy "$url" "${HASH:-abcd}" > "$4/conda-meta/numpy-1.26.4-py311_0.json"
)SH";

struct Played {
  Scratch scratch;
  BuildRequest request;

  explicit Played(const std::string& mode)
      : request{.specification = {}, .lock = {}, .prefix = {}, .base = {}, .settings = {}} {
    const fs::path client = scratch.path() / "micromamba";
    std::ofstream(client) << kStandIn;
    REQUIRE(::chmod(client.c_str(), 0755) == 0);
    request.specification.kind = SpecificationKind::kConda;
    request.specification.channels = {"https://host/chan"};
    request.specification.conda = {"numpy"};
    request.prefix = scratch.path() / "prefix";
    request.settings.variables = {{"PATH", "/usr/bin:/bin"}, {"MODE", mode}, {"HERE", scratch.path()}};
    request.settings.conda_client = client;
    request.settings.tools = scratch.path() / "tools";
    request.settings.credentials = {{"https://host/chan", "https://me:secret@host/chan"}};
  }
  BuildResult build() {
    BuildConsole console({.log = scratch.path() / "build.log",
                          .scratch = scratch.path(),
                          .guard = fs::path(RUNNER_BIN_DIR) / "runner-guard",
                          .secrets = {"secret"},
                          .stopped = {},
                          .progress = {},
                          .deadline = os::monotonic_now() + std::chrono::minutes(1)});
    return build_conda(request, console);
  }
  Error failure() {
    try {
      build();
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorCode::kInternal, "it was built");
  }
  Texts calls() const {
    std::ifstream file(scratch.path() / "calls");
    Texts lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
};

bool is_offline(const std::string& call) { return call.find("--offline") != std::string::npos; }

}  // namespace

TEST_CASE("what a client has built is locked, without the credentials it wrote down") {
  Played played("");
  const BuildResult result = played.build();
  CHECK(result.lock.packages == std::vector<LockedPackage>{kNumpy});
  CHECK(result.interpreter == played.request.prefix / "bin/python");
  CHECK(os::read_file(played.request.prefix / "conda-meta/numpy-1.26.4-py311_0.json").find("secret") ==
        std::string::npos);
}

TEST_CASE("a password that the file leaves to a variable is in no record") {
  Played played("");
  played.request.settings.credentials.clear();
  played.request.specification.channels = {"https://me:${PASSWORD}@host/chan"};
  played.request.settings.variables["PASSWORD"] = "secret";
  CHECK(played.build().lock.packages == std::vector<LockedPackage>{kNumpy});
  CHECK(os::read_file(played.request.prefix / "conda-meta/numpy-1.26.4-py311_0.json").find("secret") ==
        std::string::npos);
  played.request.settings.variables.erase("PASSWORD");
  CHECK(played.failure().message() == "https://me:${PASSWORD}@host/chan: the variable PASSWORD is not set");
}

TEST_CASE("a package's channel takes its password from a variable, too") {
  Played played("");
  played.request.settings.credentials.clear();
  played.request.specification.conda = {"https://me:${PASSWORD}@host/chan::numpy"};
  played.request.settings.variables["PASSWORD"] = "secret";
  CHECK(played.build().lock.packages == std::vector<LockedPackage>{kNumpy});
  CHECK_THAT(os::read_file(played.scratch.path() / "environment.yml"),
             Catch::Contains("https://me:secret@host/chan::numpy"));
}

TEST_CASE("without a network the caches are asked; with a lock they are asked first") {
  Played asked("no-network");
  asked.build();
  REQUIRE(asked.calls().size() == 2);
  CHECK_FALSE(is_offline(asked.calls()[0]));
  CHECK(is_offline(asked.calls()[1]));

  Played locked("no-network");
  locked.request.lock = Lock{.python_version = "", .image = "", .packages = {kNumpy}};
  locked.build();
  REQUIRE(locked.calls().size() == 1);
  CHECK(is_offline(locked.calls()[0]));

  Played fetched("missing-offline");
  fetched.request.lock = locked.request.lock;
  fetched.build();
  REQUIRE(fetched.calls().size() == 2);
  CHECK_FALSE(is_offline(fetched.calls()[1]));
}

TEST_CASE("a client that installs something else than the lock says is not believed") {
  Played played("");
  played.request.lock = Lock{.python_version = "", .image = "", .packages = {kNumpy}};
  played.request.settings.variables["HASH"] = "9999";
  CHECK_THAT(played.failure().message(),
             Catch::Contains("another file than the one locked: sha256:9999, expected sha256:abcd"));
  played.request.lock->packages[0].version = "1.26.5";
  CHECK(played.failure().message() ==
        "the lock asks for numpy 1.26.5 py311_0, the client installed numpy 1.26.4 py311_0");
}

TEST_CASE("a lock without a package's URL cannot be built from") {
  Played played("");
  played.request.lock = Lock{.python_version = "", .image = "", .packages = {kNumpy}};
  played.request.lock->packages[0].url.clear();
  CHECK(played.failure().message() == "the lock does not say where numpy 1.26.4 came from");
}

TEST_CASE("a client's failure is told in its words") {
  Played unsolvable("unsolvable");
  CHECK_THAT(unsolvable.failure().message(),
             Catch::Contains("Could not solve") && Catch::Contains("nothing provides nope"));
  CHECK(unsolvable.calls().size() == 1);  // the network would not change it
  Played full("full");
  CHECK(full.failure().code() == ErrorCode::kNoSpace);
}
