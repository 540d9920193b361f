#include "envs/credentials.hpp"

#include <catch2/catch.hpp>

#include "envs/conda_channel.hpp"
#include "envs/pip_install.hpp"

namespace runner::envs {
namespace {

using Texts = std::vector<std::string>;

std::string stripped(const char* url) { return without_credentials(url).url; }

}  // namespace

TEST_CASE("a token in the query of a URL is a credential, what else stands there is not") {
  CHECK(stripped("http://h/x.whl?sig=SASTOKEN") == "http://h/x.whl");
  CHECK(without_credentials("http://h/x.whl?sig=SASTOKEN").had_credentials);
  CHECK(stripped("https://h/x.whl?sv=2020&se=2030-01-01&sp=r&sr=b&sig=a%2Fb#sha256=ab") == "https://h/x.whl#sha256=ab");
  CHECK(stripped("https://u:p@h/simple?a=1&Access_Token=T&b=2") == "https://h/simple?a=1&b=2");
  CHECK(stripped("https://h/x.whl?X-Amz-Algorithm=A&X-Amz-Signature=S&X-Amz-Expires=60&versionId=3") ==
        "https://h/x.whl?versionId=3");
  CHECK(stripped("git+https://h/p.git@v1?private_token=T#egg=p") == "git+https://h/p.git@v1#egg=p");
  for (const char* url : {"https://h/get?file=a.whl", "https://h/get?key=a.whl", "https://h/x?sv=1&st=2&policy=p",
                          "https://h/x.whl?sig=${SAS}", "https://h/x.whl#egg=a&token=b", "file:///a?token=b",
                          "https://h/x?tokenizer=t", "https://h/x?", "https://h/x?sig="})
    CHECK(stripped(url) == url);
}

TEST_CASE("a scheme is the same in capital letters") {
  CHECK(stripped("HTTPS://u:p@h/x.whl?sig=S") == "HTTPS://h/x.whl");
  CHECK(secrets_in("HTTPS://h/x?token=T0") == Texts{"T0"});
  CHECK(secrets_in("git+SSH://somebody@h/p").empty());
}

TEST_CASE("what is stripped stays so, whatever it looks like then") {
  CHECK(stripped("x?https://h&?token=T&b@c") == "x?https://c");
  CHECK(without_channel_credentials("https://h/t/a?x/t/b/c?token=T").url ==
        without_channel_credentials(without_channel_credentials("https://h/t/a?x/t/b/c?token=T").url).url);
}

TEST_CASE("both halves of a user's name and password are secret, names of everybody are not") {
  CHECK(secrets_in("git+http://ghp_0123456789:x-oauth-basic@h/p.git") ==
        Texts{"Z2hwXzAxMjM0NTY3ODk6eC1vYXV0aC1iYXNpYw", "ghp_0123456789", "x-oauth-basic"});
  CHECK(secrets_in("https://me:hunter2@h/") == Texts{"bWU6aHVudGVyMg", "hunter2"});
  CHECK(secrets_in("https://__token__:pypi-AgEI@h/") == Texts{"X190b2tlbl9fOnB5cGktQWdFSQ", "pypi-AgEI"});
  CHECK(secrets_in("https://x-access-token:ghs_1@h/") == Texts{"eC1hY2Nlc3MtdG9rZW46Z2hzXzE", "ghs_1"});
  CHECK(secrets_in("https://t0ken@h/") == Texts{"dDBrZW46", "t0ken"});
  CHECK(secrets_in("git+ssh://git@h/p").empty());
  CHECK(secrets_in("git+ssh://somebody@h/p").empty());
  CHECK(secrets_in("https://${USER}:${TOKEN}@h/").empty());
  CHECK(secrets_in("https://me:p%40ss@h/") == Texts{"bWU6cEBzcw", "p%40ss", "p@ss"});
}

TEST_CASE("the secrets of a query are its tokens, not its dates") {
  CHECK(secrets_in("https://h/x?sv=2020-01-01&se=2030-01-01&sig=a%2Fb") == Texts{"a%2Fb", "a/b"});
  CHECK(secrets_in("https://h/x?X-Amz-Expires=60&X-Amz-Signature=0123456789") == Texts{"0123456789"});
}

TEST_CASE("a text that quotes URLs loses their credentials") {
  CHECK(without_credentials_in("'a @ https://u:p@h/x?token=T extra' and http://t@i/ why") ==
        "'a @ https://h/x extra' and http://i/ why");
  CHECK(without_credentials_in("nothing://here, nor here") == "nothing://here, nor here");
}

TEST_CASE("a build hides what credentials, channels and the caller's settings hold") {
  Specification specification;
  specification.kind = SpecificationKind::kConda;
  specification.channels = {"https://h/t/${TOKEN}/team"};
  specification.conda = {"https://u:${TOKEN2}@h/c::x"};
  BuildSettings settings;
  settings.credentials = {{"http://h/chan", "http://h/t/tk-1/chan"},
                          {"http://h/t/project/x.whl", "http://u:pw@h/t/project/x.whl"}};
  settings.variables = {{"TOKEN", "variable-token"}, {"TOKEN2", "other"}, {"PIP_FIND_LINKS", "http://h/l?token=tk-22"}};
  CHECK(pip_secrets(specification, settings) ==
        Texts{"variable-token", "dTpvdGhlcg", "dTpwdw", "other", "tk-22", "tk-1", "pw"});
}

}  // namespace runner::envs
