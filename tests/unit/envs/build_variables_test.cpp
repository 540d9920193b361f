#include "envs/build_variables.hpp"

#include <catch2/catch.hpp>

using namespace runner::envs;

TEST_CASE("where packages come from is kept, credentials are not") {
  const Variables caller{{"PIP_INDEX_URL", "https://me:pw@host/simple"},
                         {"PIP_EXTRA_INDEX_URL", "https://a/simple\thttps://u:x@b/simple"},
                         {"UV_INDEX", "one=https://u:y@c/simple two=https://d/simple"},
                         {"UV_INDEX_ONE_PASSWORD", "secret"},
                         {"CONDA_CHANNELS", "https://host/t/tk-1234/chan,defaults"},
                         {"CONDA_API_KEY", "secret"},
                         {"https_proxy", "http://proxy:3128"},
                         {"SSL_CERT_FILE", "/ca.pem"},
                         {"CONDA_PREFIX", "/opt/conda"},
                         {"HOME", "/home/me"},
                         {"AWS_SECRET_ACCESS_KEY", "no business of ours"}};
  const KeptVariables kept = keep_build_variables(caller);
  CHECK(kept.values == Variables{{"PIP_INDEX_URL", "https://host/simple"},
                                 {"PIP_EXTRA_INDEX_URL", "https://a/simple\thttps://b/simple"},
                                 {"UV_INDEX", "one=https://c/simple two=https://d/simple"},
                                 {"CONDA_CHANNELS", "https://host/chan,defaults"},
                                 {"https_proxy", "http://proxy:3128"},
                                 {"SSL_CERT_FILE", "/ca.pem"}});
  CHECK(kept.withheld == std::vector<std::string>{"CONDA_API_KEY", "CONDA_CHANNELS", "PIP_EXTRA_INDEX_URL",
                                                  "PIP_INDEX_URL", "UV_INDEX", "UV_INDEX_ONE_PASSWORD"});
}

TEST_CASE("a daemon that is started again asks the same places") {
  const Variables caller{{"PIP_INDEX_URL", "https://me:pw@host/simple"}, {"PIP_FIND_LINKS", "/wheels"}};
  const KeptVariables kept = keep_build_variables(caller);
  SECTION("its own variables name others") {
    const auto restored = restore_build_variables(
        {{"PATH", "/bin"}, {"PIP_INDEX_URL", "https://other/simple"}, {"PIP_EXTRA_INDEX_URL", "https://more/"}}, kept);
    CHECK(restored.variables ==
          Variables{{"PATH", "/bin"}, {"PIP_INDEX_URL", "https://host/simple"}, {"PIP_FIND_LINKS", "/wheels"}});
    CHECK(restored.missing == std::vector<std::string>{"PIP_INDEX_URL"});
  }
  SECTION("its own variables are the caller's") {
    const auto restored = restore_build_variables(caller, kept);
    CHECK(restored.variables == caller);
    CHECK(restored.missing.empty());
  }
}
