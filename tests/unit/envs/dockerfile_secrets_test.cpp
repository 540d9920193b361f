#include <algorithm>
#include <catch2/catch.hpp>

#include "envs/builders.hpp"

using namespace runner::envs;

TEST_CASE("what is not to be shown of a Dockerfile's build") {
  const Specification wanted{.kind = SpecificationKind::kDockerfile,
                             .dockerfile =
                                 "FROM x\nRUN pip install --index-url https://me:pass-word@host/simple a\n"
                                 "RUN git clone https://only-token@host/x https://$T0KEN@host/y http://host/@z\n",
                             .build_arguments = {{"MINE", "from-the-caller"},
                                                 {"VERSION", "3.11.4"},
                                                 {"npm_token", "given"},
                                                 {"PIN_SECRET", "1"},
                                                 {"INDEX", "https://u:in-an-argument@host/"},
                                                 {"NAMED", "other"}}};
  BuildSettings settings;
  settings.variables = {{"MINE", "from-the-caller"}, {"NAMED", "not the same"}};
  auto secrets = dockerfile_secrets(wanted, settings);
  std::sort(secrets.begin(), secrets.end());
  CHECK(secrets == std::vector<std::string>{"from-the-caller", "given", "in-an-argument", "only-token", "pass-word"});
}
