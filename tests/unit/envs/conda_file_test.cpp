#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"

using namespace runner;
using namespace runner::envs;
using Texts = std::vector<std::string>;

namespace {

ReadSpecification parse(const std::string& yaml) { return parse_conda(yaml, "env.yml", "/project"); }

std::string refusal(const std::string& yaml) {
  try {
    parse(yaml);
  } catch (const Error& error) {
    // A pip list may name files.
    CHECK((error.code() == ErrorCode::kInvalid || error.code() == ErrorCode::kNotFound));
    return error.message();
  }
  return "accepted";
}

std::string spec_refusal(const std::string& spec) {
  try {
    return "accepted as " + normalised_match_spec(spec);
  } catch (const Error& error) {
    return error.message();
  }
}

// One of everything that real files have.
const std::string kWild =
    "# made by hand\n"
    "channels:\n"
    "- conda-forge\n"
    "- file:///srv/channel/\n"
    "- nodefaults\n"
    "dependencies:\n"
    "- python >=3.10,<3.11\n"
    "  # a comment in the list\n"
    "\n"
    "- NumPy=1.26=py310h1234_0\n"
    "- conda-forge::scipy=1.11.*  # why\n"
    "- pandas 2.*\n"
    "- https://host/conda-forge/noarch/tqdm-4.66-py_0.conda\n"
    "-\n"
    "- pip:\n"
    "  - requests\n"
    "  # another\n"
    "  - --index-url=https://index/simple\n"
    "prefix: /home/somebody/miniconda3/envs/x\n"
    "variables:\n"
    "  THREADS: 4\n"
    "  EMPTY:\n"
    "name: training";

}  // namespace

TEST_CASE("a file with everything that real ones have is read") {
  const ReadSpecification read = parse(kWild);
  CHECK(read.name == "training");
  CHECK(read.specification.kind == SpecificationKind::kConda);
  CHECK(read.specification.channels == Texts{"conda-forge", "file:///srv/channel", "nodefaults"});
  CHECK(read.specification.conda == Texts{"conda-forge::scipy=1.11.*",
                                          "https://host/conda-forge/noarch/tqdm-4.66-py_0.conda",
                                          "numpy=1.26=py310h1234_0", "pandas=2.*", "pip", "python>=3.10,<3.11"});
  CHECK(read.specification.pip == Texts{"requests"});
  CHECK(read.specification.pip_options == Texts{"--index-url=https://index/simple"});
  CHECK(read.variables == std::map<std::string, std::string>{{"THREADS", "4"}, {"EMPTY", ""}});
  CHECK(read.warnings.empty());
}

TEST_CASE("line ends and the last newline do not matter") {
  std::string crlf;
  for (const char c : kWild) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  const Specification expected = parse(kWild).specification;
  CHECK(parse(crlf).specification == expected);
  CHECK(parse(kWild + "\n").specification == expected);
  CHECK(parse(crlf + "\r\n").name == "training");
  CHECK(parse("\xEF\xBB\xBF" + kWild).specification == expected);
}

TEST_CASE("the order of packages does not matter, that of channels does") {
  const auto first = parse("channels: [a, b]\ndependencies: [x, y=1, {pip: [p, q]}]").specification;
  CHECK(parse("dependencies: [{pip: [q, p, q]}, y =1, pip, X, x]\nchannels: [a, b, a]").specification == first);
  CHECK_FALSE(parse("channels: [b, a]\ndependencies: [x, y=1, {pip: [p, q]}]").specification == first);
}

TEST_CASE("a pip list gets pip, unless it is there or nothing is in the list") {
  CHECK(parse("dependencies: [python, {pip: [a]}]").specification.conda == Texts{"pip", "python"});
  CHECK(parse("dependencies: [python, pip=23, {pip: [a]}]").specification.conda == Texts{"pip=23", "python"});
  CHECK(parse("dependencies: [conda-forge::pip, {pip: [a]}]").specification.conda == Texts{"conda-forge::pip"});
  CHECK(parse("dependencies: [python, {pip: []}]").specification.conda == Texts{"python"});
  CHECK(parse("dependencies: [python, pip: ]").specification.conda == Texts{"python"});
}

TEST_CASE("missing sections are nothing, a missing 'dependencies' is no environment file") {
  const auto read = parse("dependencies:\n- python\n");
  CHECK(read.name.empty());
  CHECK(read.specification.channels.empty());
  CHECK(parse("channels:\nname:\nvariables:\ndependencies: []").specification.conda.empty());
  CHECK(refusal("name: x\nchannels: [a]\n") == "env.yml: no 'dependencies'");
  CHECK(refusal("") == "env.yml: empty");
  CHECK(refusal("# nothing\n") == "env.yml: empty");
}

TEST_CASE("paths of channels are made absolute, credentials are kept apart") {
  const auto read = parse(
      "channels: [./local, ../up/, https://me:secret@host/chan, https://conda.host/t/tk-123/team/main]\n"
      "dependencies: ['https://me:pw@host/noarch/a-1-0.conda']\n");
  CHECK(read.specification.channels ==
        Texts{"file:///project/local", "file:///up", "https://host/chan", "https://conda.host/team/main"});
  CHECK(read.specification.conda == Texts{"https://host/noarch/a-1-0.conda"});
  CHECK(read.credentials == std::map<std::string, std::string>{
                                {"https://host/chan", "https://me:secret@host/chan"},
                                {"https://conda.host/team/main", "https://conda.host/t/tk-123/team/main"},
                                {"https://host/noarch/a-1-0.conda", "https://me:pw@host/noarch/a-1-0.conda"}});
}

TEST_CASE("credentials of a package's channel are kept apart, too") {
  const auto read = parse(
      "dependencies:\n- http://alice:PWPW@host/chan::greeting=1\n- http://host/t/tk-123/other::hello\n"
      "- farewell[channel='http://bob:PW2@host/third', build=*_0]\n- last[url=http://host/last-1-0.conda?sig=SAS]\n");
  CHECK(read.specification.conda == Texts{"farewell[channel='http://host/third', build=*_0]",
                                          "http://host/chan::greeting=1", "http://host/other::hello",
                                          "last[url=http://host/last-1-0.conda]"});
  CHECK(read.credentials ==
        std::map<std::string, std::string>{{"http://host/chan", "http://alice:PWPW@host/chan"},
                                           {"http://host/other", "http://host/t/tk-123/other"},
                                           {"http://host/third", "http://bob:PW2@host/third"},
                                           {"http://host/last-1-0.conda", "http://host/last-1-0.conda?sig=SAS"}});
  CHECK(parse("dependencies: ['http://[::1]:80/chan/noarch/a-1-0.conda']").specification.conda ==
        Texts{"http://[::1]:80/chan/noarch/a-1-0.conda"});
  CHECK(refusal("dependencies: ['http://alice:PWPW@host/chan::nump?y']") ==
        "env.yml:1:16: 'http://host/chan::nump?y' is no conda package: '?' in its version");
  CHECK(refusal("dependencies: [{'http://host/t/tk-123/chan': x}]") ==
        "env.yml:1:17: 'http://host/chan:' below 'dependencies': only pip has a list of its own");
}

TEST_CASE("what is no YAML is refused with its line and column") {
  CHECK(refusal("name: x\ndependencies:\n  - a\n - b\n") == "env.yml:4:2: not YAML: end of map not found");
  CHECK(refusal("dependencies: [a, b\n").starts_with("env.yml:2:1: not YAML: "));
  CHECK(refusal("dependencies:\n\t- a\n") == "env.yml:2:2: not YAML: illegal block entry");
  CHECK(refusal("dependencies: [a]\n---\ndependencies: [b]\n") == "env.yml:2:1: a second YAML document");
  CHECK_FALSE(refusal(", *a]\n*a\n").empty());  // yaml-cpp read it for ever
  CHECK(refusal("dependencies:\n- a\n- \xff\xfe\n") == "env.yml:3: not UTF-8 text");
  CHECK(refusal(std::string("dependencies: [a]\n\0", 19)) == "env.yml:2: not UTF-8 text");
}

TEST_CASE("what has the wrong type is refused with its line and column") {
  CHECK(refusal("- a\n- b\n") == "env.yml:1:1: not a conda environment file: no keys in it");
  CHECK(refusal("python=3.10\n") == "env.yml:1:1: not a conda environment file: no keys in it");
  CHECK(refusal("dependencies: python\n") == "env.yml:1:15: 'dependencies' must be a list");
  CHECK(refusal("dependencies:\n  python: 3\n") == "env.yml:2:3: 'dependencies' must be a list");
  CHECK(refusal("channels: conda-forge\ndependencies: []\n") == "env.yml:1:11: 'channels' must be a list");
  CHECK(refusal("channels:\n- [a]\ndependencies: []\n") == "env.yml:2:3: a channel must be text, not a list");
  CHECK(refusal("dependencies:\n- - a\n") == "env.yml:2:3: a package must be text, not a list");
  CHECK(refusal("dependencies:\n- numpy: 1.26\n") ==
        "env.yml:2:3: 'numpy:' below 'dependencies': only pip has a list of its own");
  CHECK(refusal("dependencies:\n- pip: requests\n") == "env.yml:2:8: 'pip' must be a list");
  CHECK(refusal("dependencies:\n- pip:\n  - {a: b}\n") == "env.yml:3:5: a requirement must be text, not a mapping");
  CHECK(refusal("name: [x]\ndependencies: []\n") == "env.yml:1:7: 'name' must be text, not a list");
  CHECK(refusal("dependencies: []\nvariables: [a]\n") == "env.yml:2:12: 'variables' must be a mapping");
  CHECK(refusal("dependencies: []\nvariables:\n  A: {b: c}\n") ==
        "env.yml:3:6: the variable 'A' must be text, not a mapping");
  CHECK(refusal("dependencies: []\nvariables:\n  A=B: c\n") == "env.yml:3:3: 'A=B' is no name of a variable");
}

TEST_CASE("what is there twice is refused") {
  CHECK(refusal("name: a\ndependencies: []\nname: b\n") == "env.yml:3:1: 'name' is there twice");
  CHECK(refusal("dependencies: []\nvariables: {A: 1, A: 2}\n") == "env.yml:2:19: the variable 'A' is there twice");
}

TEST_CASE("a package that is none is refused where it stands") {
  CHECK(refusal("dependencies:\n- python\n- nump?y\n") ==
        "env.yml:3:3: 'nump?y' is no conda package: '?' in its version");
  CHECK(refusal("dependencies:\n- pip:\n  - a\n  - b !! c\n").starts_with("env.yml:4: "));
}

TEST_CASE("an unknown key is warned of, with the one that was probably meant") {
  const auto read = parse("chanels: [a]\ndependencies: []\nplatforms: [linux-64]\n");
  CHECK(read.warnings ==
        Texts{"env.yml:1:1: unknown key 'chanels', did you mean 'channels'?", "env.yml:3:1: unknown key 'platforms'"});
}

TEST_CASE("a file that grows when it is read is refused") {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'j'; ++c) {
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) bomb += std::string(i == 0 ? "*" : ",*") + static_cast<char>(c - 1);
    bomb += "]\n";
  }
  CHECK(refusal(bomb + "dependencies: *j\n").find("a package must be text, not a list") != std::string::npos);

  std::string repeated = "name: &n " + std::string(30'000, 'x') + "\ndependencies:\n";
  for (int i = 0; i < 20'000; ++i) repeated += "- *n\n";
  CHECK(refusal(repeated).starts_with("env.yml:"));

  std::string many = "dependencies:\n";
  for (int i = 0; i < 10'001; ++i) many += "- a\n";
  CHECK(refusal(many) == "env.yml:2:1: more than 10 000 entries");
  CHECK(refusal("dependencies: [" + std::string(1 << 20, 'a') + "]") ==
        "env.yml: larger than 1 MiB, no conda environment file");
  CHECK(refusal("dependencies: " + std::string(100'000, '[')).starts_with("env.yml:1:"));
  CHECK(refusal("dependencies: &a [*a]\n").starts_with("env.yml:1:"));
}

TEST_CASE("whatever happens to a file, it is read or refused") {
  for (std::size_t length = 0; length <= kWild.size(); ++length) refusal(kWild.substr(0, length));
  unsigned seed = 20'260;
  const auto random = [&seed] { return (seed = seed * 1'664'525 + 1'013'904'223) >> 8; };
  const std::string bytes("\0\t\n\r -:[]{}&*#!|>'\"%@`\xff\xc3=,", 27);
  int refused = 0;
  for (int round = 0; round < 5'000; ++round) {
    std::string mutated = kWild;
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes) {
      const std::size_t at = random() % mutated.size();
      if (random() % 3 == 0)
        mutated.erase(at, 1 + random() % 20);
      else
        mutated[at] = bytes[random() % bytes.size()];
    }
    if (refusal(mutated) != "accepted") ++refused;
  }
  CHECK(refused > 500);
  CHECK(refused < 5'000);
}

TEST_CASE("a file that is not there and a directory say so") {
  CHECK_THROWS_WITH(read_conda_file("/nowhere/env.yml"), Catch::Contains("/nowhere/env.yml"));
  CHECK_THROWS_WITH(read_conda_file("/tmp"), Catch::Contains("a directory"));
}

TEST_CASE("-r of a pip list is relative to the environment file") {
  std::string pattern = (std::filesystem::temp_directory_path() / "runner-conda-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  std::ofstream(pattern + "/more.txt") << "requests\n";
  std::ofstream(pattern + "/env.yml") << "dependencies:\n- python\n- pip:\n  - -r more.txt\n";
  CHECK(read_conda_file(pattern + "/env.yml").specification.pip == Texts{"requests"});
  std::filesystem::remove_all(pattern);
}

TEST_CASE("a match spec has one spelling") {
  const auto& same = normalised_match_spec;
  CHECK(same("NumPy") == "numpy");
  CHECK(same(" numpy  =1.26 ") == "numpy=1.26");
  CHECK(same("numpy = 1.26") == "numpy=1.26");
  CHECK(same("numpy=1.26.*") == "numpy=1.26.*");
  CHECK(same("numpy 1.26.*") == "numpy=1.26.*");
  CHECK(same("numpy 1.26") == "numpy==1.26");  // exactly 1.26, unlike =1.26
  CHECK(same("numpy ==1.26") == "numpy==1.26");
  CHECK(same("numpy *") == "numpy");
  CHECK(same("python >= 3.10 , < 3.11") == "python>=3.10,<3.11");
  CHECK(same("python>=3.10,<3.11") == "python>=3.10,<3.11");
  CHECK(same("python 3.8|3.9") == "python 3.8|3.9");
  CHECK(same("python=3.10=h1_0") == "python=3.10=h1_0");
  CHECK(same("python 3.10 h1_0") == "python=3.10=h1_0");
  CHECK(same("python 3.10.* *_cpython") == "python=3.10.*=*_cpython");
  CHECK(same("python >=3.10 *_cpython") == "python >=3.10 *_cpython");
  CHECK(same("numpy ~=1.26") == "numpy~=1.26");
  CHECK(same("numpy !=1.26") == "numpy!=1.26");
  CHECK(same("conda-forge::NumPy=1") == "conda-forge::numpy=1");
  CHECK(same("conda-forge/linux-64::numpy") == "conda-forge/linux-64::numpy");
  CHECK(same("https://host/chan::numpy =1") == "https://host/chan::numpy=1");
  CHECK(same("pkg[ version='>=1', build=*_0 ]") == "pkg[version='>=1', build=*_0]");
  CHECK(same("pkg >=1[build=*_0]") == "pkg>=1[build=*_0]");
  CHECK(same("numpy # the newest") == "numpy");
  CHECK(same("https://host/Chan/noarch/a-1-0.tar.bz2#abc") == "https://host/Chan/noarch/a-1-0.tar.bz2#abc");
  CHECK(same("_libgcc_mutex=0.1=main") == "_libgcc_mutex=0.1=main");
}

TEST_CASE("what was normalised stays as it is") {
  for (const char* spec : {"numpy", "numpy=1.26", "numpy==1.26", "python>=3.10,<3.11", "python 3.8|3.9", "a=1=b",
                           "c::a=1", "python >=3.10 *_cpython", "pkg[version='>=1']"})
    CHECK(normalised_match_spec(spec) == spec);
}

TEST_CASE("what is no match spec is refused with the reason") {
  CHECK(spec_refusal("") == "'' is no conda package: empty");
  CHECK(spec_refusal("=1.0") == "'=1.0' is no conda package: '=' where its name begins");
  CHECK(spec_refusal("python:3.8") == "'python:3.8' is no conda package: ':' in its version");
  CHECK(spec_refusal("numpy>=") == "'numpy>=' is no conda package: an operator without a version");
  CHECK(spec_refusal("numpy >=1,") == "'numpy >=1,' is no conda package: an operator without a version");
  CHECK(spec_refusal("a b c d") == "'a b c d' is no conda package: more than a name, a version and a build");
  CHECK(spec_refusal("uvicorn[standard]").ends_with("extras are pip's, '[...]' holds KEY=VALUE here"));
  CHECK(spec_refusal("a; python_version<'3'").ends_with("environment markers are pip's"));
  CHECK(spec_refusal("pkg[version=1").ends_with("its '[' is not closed"));
  CHECK(spec_refusal("::numpy").ends_with("'::' without a channel"));
  CHECK(spec_refusal("conda-forge::").ends_with("no name"));
  CHECK(spec_refusal("a\nb").ends_with("a control character in it"));
  CHECK(spec_refusal(std::string(5000, 'a')).ends_with("longer than 4096 characters"));
}
