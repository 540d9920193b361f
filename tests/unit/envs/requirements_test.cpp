// Requirements in all spellings, against what they mean; and against pip's own parser, where this machine has one.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "envs/artefact_name.hpp"
#include "envs/digest.hpp"
#include "envs/python_version.hpp"
#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;
using Strings = std::vector<std::string>;

struct Project {
  fs::path path;
  Project() {
    std::string pattern = (fs::temp_directory_path() / "requirements-test-XXXXXX").string();
    path = fs::canonical(::mkdtemp(pattern.data()));
  }
  ~Project() {
    try {
      os::remove_tree(path);
    } catch (const Error&) {
    }
  }
  Project(const Project&) = delete;
  Project& operator=(const Project&) = delete;

  fs::path write(const std::string& name, const std::string& content) const {
    const fs::path file = path / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }
  ReadSpecification read(const std::string& content) const {
    return read_requirements(write("requirements.txt", content));
  }
  Strings pip(const std::string& content) const { return read(content).specification.pip; }
  Strings options(const std::string& content) const { return read(content).specification.pip_options; }
  Error failure(const std::string& content, const std::string& name = "requirements.txt") const {
    try {
      read_pip_file(write(name, content));
    } catch (const Error& error) {
      return error;
    }
    FAIL("no error for: " << content);
    throw;
  }
};

std::string message_of(const std::string& requirement) {
  try {
    normalised_requirement(requirement);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    return error.message() + " / " + error.hint();
  }
  FAIL("no error for: " << requirement);
  throw;
}

}  // namespace

TEST_CASE("a requirement has one spelling") {
  CHECK(normalised_requirement("Foo [B,a] >=1 , <2 ; python_version<'3.9'") ==
        "foo[a,b]<2,>=1; python_version < \"3.9\"");
  CHECK(normalised_requirement("  Zope.Interface__x ") == "zope-interface-x");
  CHECK(normalised_requirement("foo (>=1.0RC1, !=1.5.*)") == "foo!=1.5.*,>=1.0rc1");
  CHECK(normalised_requirement("foo[]==1.0+Local.1") == "foo==1.0+local.1");
  CHECK(normalised_requirement("foo[a,A,b]~=1!2.0") == "foo[a,b]~=1!2.0");
  CHECK(normalised_requirement("foo>=1,>=1,") == "foo>=1");
  CHECK(normalised_requirement("foo===anything-at_all") == "foo===anything-at_all");
  CHECK(normalised_requirement("foo@https://host/a;b.whl") == "foo @ https://host/a;b.whl");
  CHECK(normalised_requirement("Foo[x] @ git+https://host/p@v1#egg=foo ; os_name=='posix'") ==
        "foo[x] @ git+https://host/p@v1#egg=foo ; os_name == \"posix\"");
  CHECK(normalised_requirement("a; (python_version>='3' and os_name!='nt')or'linux'in sys_platform") ==
        "a; (python_version >= \"3\" and os_name != \"nt\") or \"linux\" in sys_platform");
  CHECK(normalised_requirement("a ; platform_machine not  in \"x y\"") == "a; platform_machine not in \"x y\"");
  CHECK(normalised_requirement("a; extra == 'say \"x\"'") == "a; extra == 'say \"x\"'");
}

TEST_CASE("what is no requirement is named, with the way out") {
  for (const char* odd : {"a @#https://h/a.whl", "a @-x", "a @ https://h/x\\"})
    CHECK_THAT(message_of(odd), Contains("no URL"));
  CHECK_THAT(message_of("foo=1.0"), Contains("'=1.0' is no comparison") && Contains("NAME==VERSION"));
  CHECK_THAT(message_of("foo 1.0"), Contains("'1.0' after the name"));
  CHECK_THAT(message_of(""), Contains("no package's name"));
  CHECK_THAT(message_of("-foo"), Contains("'-foo' is not a package's name"));
  CHECK_THAT(message_of("foo>="), Contains("no version after '>='"));
  CHECK_THAT(message_of("foo[a b]"), Contains("extras"));
  CHECK_THAT(message_of("foo[a"), Contains("extras"));
  CHECK_THAT(message_of("foo (>=1"), Contains("parenthesis"));
  CHECK_THAT(message_of("foo @ "), Contains("no URL"));
  CHECK_THAT(message_of("foo; python<'3'"), Contains("the marker knows no 'python'"));
  CHECK_THAT(message_of("foo; python_version"), Contains("no comparison"));
  CHECK_THAT(message_of("foo; python_version < '3"), Contains("closing quote"));
  CHECK_THAT(message_of("foo; (python_version < '3'"), Contains("parenthesis"));
  CHECK_THAT(message_of("foo; python_version < '3' extra"), Contains("not understood") || Contains("after the name"));
}

TEST_CASE("credentials leave URLs, names of variables stay") {
  const auto stripped = [](const char* url) { return without_credentials(url); };
  CHECK(stripped("https://user:secret@host:8/simple?a@b").url == "https://host:8/simple?a@b");
  CHECK(stripped("https://user:secret@host/").had_credentials);
  CHECK(stripped("https://token@host/x").url == "https://host/x");
  CHECK(stripped("https://us%40er:p@ss@host/x").url == "https://host/x");
  CHECK(stripped("git+https://ghp_abc@host/x@main").url == "git+https://host/x@main");
  CHECK_FALSE(stripped("git+ssh://git@host/x").had_credentials);
  CHECK(stripped("git+ssh://git:pw@host/x").had_credentials);
  CHECK_FALSE(stripped("https://host/a@b").had_credentials);
  CHECK_FALSE(stripped("https://${USER}:${TOKEN}@host/x").had_credentials);
  CHECK_FALSE(stripped("https://me:${TOKEN}@host/x").had_credentials);
  CHECK(stripped("https://${USER}:secret@host/x").url == "https://host/x");
  CHECK_FALSE(stripped("no-url").had_credentials);
}

TEST_CASE("a requirement is one line, whatever counts as a line's end for pip") {
  CHECK_THAT(message_of("evil @ http://h/x.whl\n--extra-index-url=http://e"),
             Contains("'evil @ http://h/x.whl': a line break") && !Contains("\n") && !Contains("extra-index"));
  for (const char* end : {"\r", "\v", "\f", "\x1c", "\x7f", "\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"})
    CHECK_THAT(message_of("a===1" + std::string(end) + "b"), Contains("'a===1': a line break"));
  CHECK(normalised_requirement("a; extra == '\xC2\xA0\xE2\x80\xA6'") == "a; extra == \"\xC2\xA0\xE2\x80\xA6\"");
  const Project project;
  CHECK_THAT(project.failure("a\nhttp://h/x\xC2\x85--pre").message(), Contains("requirements.txt:2: 'http://h/x'"));
  CHECK_THAT(project.failure("--find-links=/x\f--pre").message(), Contains("requirements.txt:1: '--find-links=/x'"));
  CHECK_THAT(project.failure("[project]\ndependencies = ['a', \"b @ http://u:p4ss@h/x\\n--pre\"]\n", "pyproject.toml")
                 .message(),
             Contains("pyproject.toml:2:22: 'b @ http://h/x': a line break") && !Contains("\n"));
}

TEST_CASE("lines, comments and continuations are pip's") {
  const Project project;
  CHECK(project.pip("a # comment\n#b\n  # c\n\nd\n") == Strings{"a", "d"});
  CHECK(project.pip("a \\\n  ==1 \\\n  ; os_name=='nt'\nb") == Strings{"a==1; os_name == \"nt\"", "b"});
  CHECK(project.pip("a \\\n# comment \\\nb") == Strings{"a", "b"});
  CHECK(project.pip("\xEF\xBB\xBF"
                    "a\r\nb\r\n") == Strings{"a", "b"});
  CHECK(project.pip(std::string("\xFF\xFE"
                                "a\0=\0=\0"
                                "1\0\n\0",
                                12)) == Strings{"a==1"});
  CHECK(project.pip("").empty());
  CHECK_THAT(project.failure("a\nb\xFF\n").message(), Contains("requirements.txt:2: not a text in UTF-8"));
}

TEST_CASE("neither order nor repetition of requirements matters") {
  const Project project;
  CHECK(project.read("B>=1\na\n").specification == project.read("a\nb >= 1\nA\n").specification);
  CHECK(project.pip("a==1 --hash=sha256:" + std::string(64, 'B') + " --hash sha256:" + std::string(64, 'a')) ==
        Strings{"a==1 --hash=sha256:" + std::string(64, 'a') + " --hash=sha256:" + std::string(64, 'b')});
}

TEST_CASE("options keep their order and their meaning") {
  const Project project;
  fs::create_directories(project.path / "wheels");
  CHECK(project.options("-i https://a/simple\n--extra-index-url=https://b/simple\n--pre\n--pre\n--trusted-host b\n"
                        "-f wheels\n--no-binary Foo_x,:all:\n--only-binary=bar --prefer-binary\n--require-hashes") ==
        Strings{"--index-url=https://a/simple", "--extra-index-url=https://b/simple", "--pre", "--trusted-host=b",
                "--find-links=" + (project.path / "wheels").string(), "--no-binary=foo-x,:all:", "--only-binary=bar",
                "--prefer-binary", "--require-hashes"});
  CHECK(project.options("-ihttps://a/x") == Strings{"--index-url=https://a/x"});
  // A later index drops what was there, as pip does.
  CHECK(project.options("--extra-index-url https://b\n-i https://a") == Strings{"--index-url=https://a"});
  CHECK(project.options("-i https://a\n--no-index\n-i https://b") == Strings{"--no-index"});
  CHECK_THAT(project.read("-f nowhere\n").warnings.at(0), Contains("requirements.txt:1: --find-links"));
}

TEST_CASE("included files are relative to the file that names them, and may not go round") {
  const Project project;
  project.write("more/base.txt", "-r deeper.txt\nb\n");
  project.write("more/deeper.txt", "c\n");
  project.write("limits.txt", "d<2\n-r more/deeper.txt\n");
  const auto read = project.read("a\n-r more/base.txt\n-c limits.txt\n--requirement=more/deeper.txt\n").specification;
  CHECK(read.pip == Strings{"a", "b", "c"});
  CHECK(read.constraints == Strings{"c", "d<2"});

  project.write("more/base.txt", "\n-r ../requirements.txt\n");
  CHECK_THAT(project.failure("-r more/base.txt").message(),
             Contains("more/base.txt:2: ") && Contains("includes itself"));
  const Error missing = project.failure("a\n-r nowhere.txt");
  CHECK(missing.code() == ErrorCode::kNotFound);
  CHECK_THAT(missing.message(), Contains("requirements.txt:2: " + (project.path / "nowhere.txt").string()));
  project.write("more/base.txt", "x\n\ny=1\n");
  CHECK_THAT(project.failure("-r more/base.txt").message(),
             Contains("more/base.txt:3: ") && !Contains("requirements.txt:1"));
  CHECK_THAT(project.failure("-r https://host/r.txt").message(), Contains("behind a URL"));
}

TEST_CASE("a local wheel counts with its content") {
  const Project project;
  const fs::path wheel = project.write("dist/My_Pkg-1.0-py3-none-any.whl", "one");
  const std::string url = "my-pkg[x] @ file://" + wheel.string();
  const auto read = project.read("./dist/My_Pkg-1.0-py3-none-any.whl[x] ; os_name=='posix'").specification;
  CHECK(read.pip == Strings{url + " ; os_name == \"posix\""});
  CHECK(read.files.at(wheel.string()) == digest_of("one").hex());
  project.write("dist/My_Pkg-1.0-py3-none-any.whl", "two");
  const auto changed = project.read("My.pkg[X]@file://" + wheel.string() + " ; os_name=='posix'").specification;
  CHECK(changed.pip == read.pip);
  CHECK(changed.files != read.files);

  const fs::path spaced = project.write("a b/foo-2.1.tar.gz", "source");
  CHECK(project.pip("a b/foo-2.1.tar.gz") == Strings{"foo @ " + file_url(spaced.string())});
  CHECK(path_of_file_url(file_url(spaced.string())) == spaced.string());
  CHECK(project.failure("./gone-1.0-py3-none-any.whl").code() == ErrorCode::kNotFound);
}

TEST_CASE("bare URLs get the name they say") {
  const Project project;
  CHECK(project.pip("https://host/x/Foo-1.0-py3-none-any.whl#sha256=ab") ==
        Strings{"foo @ https://host/x/Foo-1.0-py3-none-any.whl#sha256=ab"});
  CHECK(project.pip("git+https://host/p.git@main#egg=Foo[a]&subdirectory=s") ==
        Strings{"foo[a] @ git+https://host/p.git@main#egg=Foo[a]&subdirectory=s"});
  CHECK(project.pip("https://host/archive/main.zip") == Strings{"https://host/archive/main.zip"});
}

TEST_CASE("what changes behind an environment's back is refused") {
  const Project project;
  fs::create_directories(project.path / "src");
  for (const std::string& line : Strings{"-e .", "--editable=git+https://host/x#egg=x", "./src", "src/",
                                         "foo @ file://" + (project.path / "src").string()}) {
    const Error error = project.failure("a\n" + line);
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_THAT(error.message(), Contains("requirements.txt:2: ") && Contains("behind the environment's back"));
    CHECK_THAT(error.hint(), Contains("pip wheel"));
  }
}

TEST_CASE("an unknown option is named with its place") {
  const Project project;
  const Error error = project.failure("a\n\n--index-ulr=https://host");
  CHECK_THAT(error.message(), Contains("requirements.txt:3: unknown option '--index-ulr'"));
  CHECK_THAT(error.hint(), Contains("--index-url"));
  CHECK_THAT(project.failure("--upgrade").message(), Contains("unknown option '--upgrade'"));
  CHECK_THAT(project.failure("a --pre").message(), Contains("'--pre' after a requirement"));
  CHECK_THAT(project.failure("-r").message(), Contains("wants a value"));
  CHECK_THAT(project.failure("--pre=1").message(), Contains("takes no value"));
  CHECK_THAT(project.failure("--find-links 'a").message(), Contains("quote"));
  CHECK_THAT(project.failure("a --hash=md5:1").message(), Contains("is no hash"));
}

TEST_CASE("credentials go beside the specification, never into it or a message") {
  const Project project;
  const auto read =
      project.read("-i https://me:hunter2@host/simple\nfoo @ https://t0ken@host/foo.whl ; os_name=='posix'\n");
  CHECK(read.credentials.at("https://host/simple") == "https://me:hunter2@host/simple");
  CHECK(read.credentials.at("https://host/foo.whl") == "https://t0ken@host/foo.whl");
  CHECK_THAT(to_json(read.specification), !Contains("hunter2") && !Contains("t0ken"));
  CHECK(read.specification.pip == Strings{"foo @ https://host/foo.whl ; os_name == \"posix\""});
  for (const std::string& line :
       Strings{"foo @ https://me:hunter2@host/x extra", "https://me:hunter2@host/x extra",
               "-r https://me:hunter2@host/x", "a --config-settings=https://me:hunter2@host/x"})
    CHECK_THAT(project.failure(line).message() + project.failure(line).hint(), !Contains("hunter2"));
}

TEST_CASE("a pyproject gives its dependencies and its Python") {
  const Project project;
  const auto read_toml = [&](const std::string& text) { return read_pip_file(project.write("pyproject.toml", text)); };
  const auto read = read_toml(
      "[project]\nname = 'x'\nrequires-python = '<3.13, >=3.9'\ndependencies = [\n 'B>=1',\n 'a @ "
      "https://u:p4ss@h/a.whl',\n 'b >=1']\n");
  CHECK(read.specification.pip == Strings{"a @ https://h/a.whl", "b>=1"});
  CHECK(read.specification.pip_options == Strings{"--requires-python=<3.13,>=3.9"});
  CHECK(read.credentials.at("https://h/a.whl") == "https://u:p4ss@h/a.whl");
  CHECK(read_toml("[project]\nname = 'x'\n").specification.pip.empty());
  CHECK(read_toml("[project]\nname = 'x'\n[tool.uv.sources]\na = {path = '.'}\n").warnings.size() == 1);

  CHECK_THAT(project.failure("[project\n", "pyproject.toml").message(), Contains("pyproject.toml:1:"));
  CHECK_THAT(project.failure("[}project]\n", "pyproject.toml").message(), Contains("pyproject.toml:1:"));
  CHECK_THAT(project.failure("[project]\ndependencies = ['a',\n   'b=1']\n", "pyproject.toml").message(),
             Contains("pyproject.toml:3:4: 'b=1'"));
  CHECK_THAT(project.failure("[project]\ndynamic = ['dependencies']\n", "pyproject.toml").message(),
             Contains("dynamic"));
  CHECK_THAT(project.failure("[tool.poetry]\n", "pyproject.toml").hint(), Contains("poetry export"));
  CHECK_THAT(project.failure("[project]\nrequires-python = 'three'\n", "pyproject.toml").message(),
             Contains("no version specifier"));
  CHECK_THAT(project.failure("[project]\ndependencies = 'a'\n", "pyproject.toml").message(), Contains("is not a list"));
}

TEST_CASE("a Python satisfies requires-python as PEP 440 says") {
  CHECK(python_satisfies("3.11.7", ">=3.9,<3.13"));
  CHECK(python_satisfies("3.11.7", ""));
  CHECK_FALSE(python_satisfies("3.11.7", ">=3.12"));
  CHECK_FALSE(python_satisfies("3.9.1", ">3.9.1"));
  CHECK(python_satisfies("3.10.0", ">=3.10"));
  CHECK_FALSE(python_satisfies("3.10.2", "!=3.10.*"));
  CHECK(python_satisfies("3.10.2", "==3.10.*"));
  CHECK_FALSE(python_satisfies("3.10.2", "==3.10"));
  CHECK(python_satisfies("3.10.2", "~=3.9"));
  CHECK_FALSE(python_satisfies("3.10.2", "~=3.9.1"));
  CHECK_FALSE(python_satisfies("4.0.0", "~=3.9"));
  CHECK(python_satisfies("3.13.0rc1", ">=3.13"));
  CHECK_THROWS_AS(python_satisfies("3.11.7", "3.9"), Error);
}

TEST_CASE("names of wheels and archives say what they hold") {
  const auto wheel = artefact_name("Foo_Bar-1.0-2-py2.py3-none-any.whl");
  REQUIRE(wheel);
  CHECK(wheel->name == "foo-bar");
  CHECK(wheel->version == "1.0");
  CHECK(expanded_tags(wheel->tags) == std::set<std::string>{"py2-none-any", "py3-none-any"});
  CHECK(artefact_name("foo-bar-1.0.tar.gz")->name == "foo-bar");
  CHECK_FALSE(artefact_name("main.zip"));
  CHECK_FALSE(artefact_name("project-main.zip"));
  CHECK_FALSE(artefact_name("a-b.whl"));
}

// pip's parser as the oracle: the same file, the same requirements and constraints.
TEST_CASE("pip reads the same requirements out of the same file") {
  const Project project;
  project.write("more/base.txt", "requests[security,socks] >=2.0, !=2.1 # why\n-c limits.txt\n");
  project.write("more/limits.txt", "urllib3<3 ; python_version >= '3'\n");
  const fs::path file = project.write("requirements.txt",
                                      "# head \\\nNumPy==1.26.4 \\\n   ; sys_platform=='linux' # tail\n\n"
                                      "  Zope.Interface (>=5)\r\n-r more/base.txt\nfoo @ https://host/foo-1.0.zip#x=1\n"
                                      "d#e-is-no-comment==1\n");
  constexpr const char* kAsk =
      "import sys\n"
      "from pip._internal.req.req_file import parse_requirements\n"
      "from pip._internal.network.session import PipSession\n"
      "from pip._internal.req.constructors import install_req_from_parsed_requirement as make\n"
      "for parsed in parse_requirements(sys.argv[1], PipSession()):\n"
      "    try: made = make(parsed)\n"
      "    except Exception: print('bad'); continue\n"
      "    print('-c' if parsed.constraint else '-r', made.req, '; %s' % made.markers if made.markers else '')\n";
  const auto python = os::find_program("python3", "/usr/bin:/usr/local/bin");
  REQUIRE(python);
  os::SpawnRequest request{.arguments = {python->string(), "-c", kAsk, file.string()},
                           .environment = {"PATH=/usr/bin:/bin"}};
  const auto answer = os::capture(request, std::chrono::seconds(30));
  if (answer.exit_code != 0 && answer.err.find("No module named 'pip'") != std::string::npos) {
    WARN("no pip to compare with: skipped");
    if (std::getenv("RUNNER_STRICT") != nullptr) FAIL("pip is not installed");
    return;
  }
  REQUIRE(answer.exit_code == 0);
  Strings pip, constraints;
  std::istringstream lines(answer.out);
  for (std::string line; std::getline(lines, line);) {
    if (line == "bad") continue;
    (line.starts_with("-c") ? constraints : pip).push_back(normalised_requirement(line.substr(3)));
  }
  std::sort(pip.begin(), pip.end());
  CHECK(answer.out.find("bad") != std::string::npos);  // "d#e-…" is none for either
  const std::string content = os::read_file(file);
  CHECK_THAT(project.failure(content).message(), Contains(":8: 'd#e"));
  project.write("requirements.txt", content.substr(0, content.find("d#e")));
  const auto read = read_requirements(file).specification;
  CHECK(read.pip == pip);
  CHECK(read.constraints == constraints);
  CHECK(read.pip.size() == 4);
}

}  // namespace runner::envs
