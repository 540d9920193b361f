#include "runner/http/message.hpp"

#include <catch2/catch.hpp>

using runner::Error;
using runner::ErrorCode;
using namespace runner::http;

TEST_CASE("percent_encode keeps unreserved characters and what it encodes comes back as one segment") {
  CHECK(percent_encode("aZ09-._~") == "aZ09-._~");
  CHECK(percent_encode("a/b c+d%\xc3\xa4") == "a%2Fb%20c%2Bd%25%C3%A4");
  const std::string odd = "@last-1 /?&=#%+\xff\n";
  Request request;
  REQUIRE(parse_target("/v1/runs/" + percent_encode(odd) + "/file?name=" + percent_encode(odd), request));
  CHECK(request.path == std::vector<std::string>{"v1", "runs", odd, "file"});
  CHECK(request.parameter("name") == odd);
}

TEST_CASE("parse_target splits before it decodes and keeps repeated parameters in order") {
  Request request;
  REQUIRE(parse_target("/a%2Fb/c?tag=1&tag=2&flag&empty=&&x=%3D=", request));
  CHECK(request.path == std::vector<std::string>{"a/b", "c"});
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  CHECK(request.query == Pairs{{"tag", "1"}, {"tag", "2"}, {"flag", ""}, {"empty", ""}, {"x", "=="}});
  CHECK(request.parameter("tag") == "1");
  CHECK_FALSE(request.parameter("absent").has_value());
}

TEST_CASE("a plus is a blank in the query and itself in the path") {
  Request request;
  REQUIRE(parse_target("/a+b?q=a+b", request));
  CHECK(request.path.at(0) == "a+b");
  CHECK(request.parameter("q") == "a b");
}

TEST_CASE("the root is no segment, empty segments stay") {
  Request request;
  REQUIRE(parse_target("/", request));
  CHECK(request.path.empty());
  REQUIRE(parse_target("/?a=b", request));
  CHECK(request.path.empty());
  REQUIRE(parse_target("/a//b/", request));
  CHECK(request.path == std::vector<std::string>{"a", "", "b", ""});
}

TEST_CASE("malformed targets are refused") {
  Request request;
  for (const char* target : {"", "a", "*", "?a=b", "/%", "/%4", "/%zz", "/%00", "/a?x=%g0", "/a#b", "http://h/a"}) {
    INFO(target);
    CHECK_FALSE(parse_target(target, request));
  }
}

TEST_CASE("an error survives the way over the wire") {
  const Error sent(ErrorCode::kConflict, "the run is \"final\"\n\xff", "see runner show");
  const Response response = error_response(sent);
  CHECK(response.status == 409);
  const Error received = error_from(response);
  CHECK(received.code() == ErrorCode::kConflict);
  CHECK(received.message() == "the run is \"final\"\n\xef\xbf\xbd");  // not UTF-8: replaced, not refused
  CHECK(received.hint() == "see runner show");
  CHECK(error_json(Error(ErrorCode::kInvalid, "m")) == R"({"error":{"code":"invalid","hint":null,"message":"m"}})");
}

TEST_CASE("an answer that is no error document becomes an internal error that names the status") {
  for (const char* body : {"", "oops", "[]", "{\"error\": 1}"}) {
    const Error error = error_from({.status = 502, .body = body});
    CHECK(error.code() == ErrorCode::kInternal);
    CHECK(error.message().find("502") != std::string::npos);
  }
}
