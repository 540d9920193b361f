#include "runner/engine/pull_progress.hpp"

#include <catch2/catch.hpp>

namespace runner::engine {
namespace {

std::string line_of(const std::string& stream) {
  PullProgress progress;
  progress.feed(stream);
  return progress.line();
}

const std::string kLayers = R"({"status":"Pulling from library/debian","id":"12"}
{"status":"Pulling fs layer","progressDetail":{},"id":"a"}
{"status":"Pulling fs layer","progressDetail":{},"id":"b"}
)";

}  // namespace

TEST_CASE("before a layer is known the line is what the registry says") {
  CHECK(line_of("").empty());
  CHECK(line_of("{\"status\":\"Pulling from library/debian\",\"id\":\"12\"}\n") == "Pulling from library/debian");
  CHECK(line_of("{\"status\":\"Trying to pull x...\"}\n") == "Trying to pull x...");
}

TEST_CASE("layers are counted, and bytes once they are known") {
  CHECK(line_of(kLayers) == "0 of 2 layers");
  const std::string loading =
      kLayers +
      "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":1048576,\"total\":2097152},\"id\":\"a\"}\n";
  CHECK(line_of(loading) == "0 of 2 layers, 1.0 MiB of 2.0 MiB");
  const std::string loaded = loading + "{\"status\":\"Download complete\",\"progressDetail\":{},\"id\":\"a\"}\n";
  CHECK(line_of(loaded) == "0 of 2 layers, 2.0 MiB of 2.0 MiB");
  // Extracting counts other bytes: the line does not go back.
  const std::string extracting =
      loaded + "{\"status\":\"Extracting\",\"progressDetail\":{\"current\":32,\"total\":2097152},\"id\":\"a\"}\n";
  CHECK(line_of(extracting) == "0 of 2 layers, 2.0 MiB of 2.0 MiB");
  CHECK(line_of(extracting +
                "{\"status\":\"Pull complete\",\"id\":\"a\"}\n{\"status\":\"Already exists\",\"id\":\"b\"}\n") ==
        "2 of 2 layers, 2.0 MiB of 2.0 MiB");
}

TEST_CASE("a stream may come in any pieces") {
  PullProgress progress;
  for (const char& c : kLayers) progress.feed({&c, 1});
  CHECK(progress.line() == "0 of 2 layers");
}

TEST_CASE("the error in a stream is kept") {
  PullProgress progress;
  progress.feed("{\"errorDetail\":{\"message\":\"m\"},\"error\":\"toomanyrequests: slow down\"}\n");
  CHECK(progress.error() == "toomanyrequests: slow down");
  progress.feed("{\"status\":\"x\"}\n");
  CHECK(progress.error() == "toomanyrequests: slow down");
  PullProgress fine;
  fine.feed(kLayers);
  CHECK(fine.error().empty());
}

TEST_CASE("what is no progress is passed over") {
  CHECK(line_of("garbage\n[]\n7\n\n\xff\xfe\n{\"status\":7,\"id\":[]}\n" + kLayers) == "0 of 2 layers");
  CHECK(line_of(kLayers + "{\"status\":\"Downloading\",\"progressDetail\":\"x\",\"id\":\"a\"}\n") == "0 of 2 layers");
  CHECK(line_of(kLayers +
                "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":\"1\",\"total\":null},\"id\":\"a\"}\n") ==
        "0 of 2 layers");
}

TEST_CASE("a line without an end does not grow without bound, and the next one counts again") {
  PullProgress progress;
  const std::string block(1 << 16, 'x');
  for (int i = 0; i < 1000; ++i) progress.feed(block);
  progress.feed("\n" + kLayers);
  CHECK(progress.line() == "0 of 2 layers");
}

TEST_CASE("numbers that cannot be sizes harm nobody") {
  PullProgress progress;
  progress.feed(kLayers);
  for (const char* layer : {"a", "b"})
    progress.feed(
        "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":9223372036854775807,\"total\":"
        "9223372036854775807},\"id\":\"" +
        std::string(layer) + "\"}\n");
  progress.feed("{\"status\":\"Downloading\",\"progressDetail\":{\"current\":-5,\"total\":1e300},\"id\":\"c\"}\n");
  CHECK(progress.line().starts_with("0 of 3 layers"));
}

}  // namespace runner::engine
