#include <array>
#include <catch2/catch.hpp>

#include "runner/core/content.hpp"
#include "runner/core/error.hpp"
#include "runner/core/nearest.hpp"
#include "runner/core/run.hpp"
#include "runner/core/time.hpp"

using namespace std::chrono_literals;
using runner::Error;
using runner::ErrorCode;

TEST_CASE("a duration is a number with an optional unit") {
  CHECK(runner::parse_duration("90", "x") == 90s);
  CHECK(runner::parse_duration("90s", "x") == 90s);
  CHECK(runner::parse_duration("30m", "x") == 30min);
  CHECK(runner::parse_duration("2h", "x") == 2h);
  CHECK(runner::parse_duration("1d", "x") == 24h);
  CHECK(runner::parse_duration("1.5h", "x") == 90min);
  CHECK(runner::parse_duration("250ms", "x") == 250ms);
  CHECK(runner::parse_duration("0", "x") == 0s);
}

TEST_CASE("what is no duration is refused with the option's name") {
  for (const char* text : {"", "s", "-1", "1w", "1 h", "abc", "1e3", "nan", "inf", "5h30m", "99999999d", "1..5"}) {
    INFO(text);
    try {
      runner::parse_duration(text, "--max-run-duration");
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kInvalid);
      CHECK(error.message().find("--max-run-duration") == 0);
      CHECK_FALSE(error.hint().empty());
    }
  }
}

TEST_CASE("a size counts in 1024s and takes any letter case") {
  CHECK(runner::parse_size("512", "x") == 512);
  CHECK(runner::parse_size("512k", "x") == 512 * 1024);
  CHECK(runner::parse_size("64MB", "x") == 64 << 20);
  CHECK(runner::parse_size("1.5GiB", "x") == 3LL << 29);
  CHECK_THROWS_AS(runner::parse_size("10x", "--memory"), Error);
  CHECK_THROWS_AS(runner::parse_size("99999999t", "--memory"), Error);
}

TEST_CASE("an instant survives its ISO 8601 text to the microsecond") {
  const runner::UtcTime time{1700000000123456us};
  CHECK(runner::to_iso8601(time) == "2023-11-14T22:13:20.123456Z");
  CHECK(runner::utc_from_iso8601(runner::to_iso8601(time)) == time);
  CHECK(runner::utc_from_iso8601("2023-11-14T22:13:20") == runner::UtcTime{1700000000s});
  CHECK_FALSE(runner::utc_from_iso8601("yesterday"));
  CHECK_FALSE(runner::utc_from_iso8601("2023-11-14T22:13:20+01:00"));
}

TEST_CASE("durations and sizes are written as people read them") {
  CHECK(runner::format_duration(850ms) == "850ms");
  CHECK(runner::format_duration(12300ms) == "12.3s");
  CHECK(runner::format_duration(245s) == "4m 05s");
  CHECK(runner::format_duration(2h + 3min) == "2h 03m");
  CHECK(runner::format_duration(76h) == "3d 04h");
  CHECK(runner::format_size(0) == "0 B");
  CHECK(runner::format_size(1229) == "1.2 KiB");
}

TEST_CASE("a hash is 64 lower-case digits and nothing else") {
  const std::string text = "00ff" + std::string(60, 'a');
  const auto hash = runner::Hash::from_hex(text);
  REQUIRE(hash);
  CHECK(hash->bytes[1] == 0xff);
  CHECK(hash->hex() == text);
  CHECK_FALSE(runner::Hash::from_hex(text + "0"));
  CHECK_FALSE(runner::Hash::from_hex(std::string(64, 'g')));
  CHECK_FALSE(runner::Hash::from_hex(std::string(64, 'A')));
}

TEST_CASE("exit codes of outcomes are those of the contract") {
  using runner::Outcome;
  using runner::OutcomeKind;
  CHECK(runner::exit_code_of(Outcome{.kind = OutcomeKind::kExited, .exit_code = 3}) == 3);
  CHECK(runner::exit_code_of(Outcome{.kind = OutcomeKind::kSignaled, .signal = 11}) == 139);
  CHECK(runner::exit_code_of(Outcome{.kind = OutcomeKind::kTimedOut, .exit_code = 0}) == 124);
  CHECK(runner::exit_code_of(Outcome{.kind = OutcomeKind::kCanceled}) == 130);
  CHECK(runner::exit_code_of(Outcome{.kind = OutcomeKind::kOutOfMemory, .signal = 9}) == 137);
  for (const auto kind : {OutcomeKind::kKilled, OutcomeKind::kLost, OutcomeKind::kHostRebooted,
                          OutcomeKind::kEnvironmentFailed, OutcomeKind::kStartFailed})
    CHECK(runner::exit_code_of(Outcome{.kind = kind}) == 125);
}

TEST_CASE("a run that was stopped is Canceled, one that failed is Failed") {
  using runner::Outcome;
  using runner::OutcomeKind;
  using runner::RunStatus;
  CHECK(runner::final_status_of(Outcome{.kind = OutcomeKind::kExited, .exit_code = 0}) == RunStatus::kCompleted);
  CHECK(runner::final_status_of(Outcome{.kind = OutcomeKind::kExited, .exit_code = 1}) == RunStatus::kFailed);
  CHECK(runner::final_status_of(Outcome{.kind = OutcomeKind::kTimedOut}) == RunStatus::kCanceled);
  CHECK(runner::final_status_of(Outcome{.kind = OutcomeKind::kCanceled}) == RunStatus::kCanceled);
  CHECK(runner::final_status_of(Outcome{.kind = OutcomeKind::kLost}) == RunStatus::kFailed);
}

TEST_CASE("every status and outcome is read back from its own name") {
  for (int i = 0; i <= static_cast<int>(runner::RunStatus::kCanceled); ++i) {
    const auto status = static_cast<runner::RunStatus>(i);
    CHECK(runner::run_status_from(to_string(status)) == status);
  }
  for (int i = 0; i <= static_cast<int>(runner::OutcomeKind::kStartFailed); ++i) {
    const auto kind = static_cast<runner::OutcomeKind>(i);
    CHECK(runner::outcome_kind_from(to_string(kind)) == kind);
  }
  CHECK(runner::run_status_from("completed") == runner::RunStatus::kCompleted);
  CHECK_FALSE(runner::run_status_from("Done"));
}

TEST_CASE("error codes map to the exit codes of the contract and back from their names") {
  CHECK(runner::exit_code(ErrorCode::kInvalid) == 2);
  CHECK(runner::exit_code(ErrorCode::kNotFound) == 3);
  CHECK(runner::exit_code(ErrorCode::kConflict) == 4);
  CHECK(runner::exit_code(ErrorCode::kPermission) == 5);
  CHECK(runner::exit_code(ErrorCode::kNoSpace) == 125);
  CHECK(runner::exit_code(ErrorCode::kUnavailable) == 125);
  for (const auto code : {ErrorCode::kInvalid, ErrorCode::kNotFound, ErrorCode::kConflict, ErrorCode::kPermission,
                          ErrorCode::kNoSpace, ErrorCode::kUnavailable, ErrorCode::kInternal})
    CHECK(runner::error_code_from(to_string(code)) == code);
}

TEST_CASE("an error keeps its code and hint when context is added") {
  const Error error = Error(ErrorCode::kNoSpace, "disk full", "free some").within("while storing x");
  CHECK(error.message() == "while storing x: disk full");
  CHECK(error.code() == ErrorCode::kNoSpace);
  CHECK(error.hint() == "free some");
}

TEST_CASE("errno becomes the code that says what to do about it") {
  CHECK(runner::errno_error(ENOSPC, "write x").code() == ErrorCode::kNoSpace);
  CHECK(runner::errno_error(EACCES, "open x").code() == ErrorCode::kPermission);
  CHECK(runner::errno_error(ENOENT, "open x").code() == ErrorCode::kNotFound);
  CHECK(runner::errno_error(EIO, "read x").code() == ErrorCode::kInternal);
}

TEST_CASE("nearest finds what was meant and nothing when nothing was") {
  constexpr std::array<std::string_view, 3> kWords{"list", "logs", "cancel"};
  CHECK(runner::nearest("lst", kWords) == "list");
  CHECK(runner::nearest("cancle", kWords) == "cancel");
  CHECK(runner::nearest("xyzzy", kWords).empty());
  CHECK(runner::nearest("", kWords).empty());
}

TEST_CASE("a run that was said to have ended so has an outcome that says the same") {
  using namespace runner;
  for (const RunStatus status : {RunStatus::kCompleted, RunStatus::kFailed, RunStatus::kCanceled}) {
    const Outcome outcome = outcome_of_end(status, "because");
    CHECK(final_status_of(outcome) == status);
    CHECK(outcome.message == "because");
  }
}

TEST_CASE("kinds of runs, shapes of metrics and types of files are read as they are written") {
  using namespace runner;
  for (const RunKind kind : {RunKind::kScript, RunKind::kChild, RunKind::kInteractive})
    CHECK(run_kind_from(to_string(kind)) == kind);
  CHECK(run_kind_from("CHILD") == RunKind::kChild);
  CHECK_FALSE(run_kind_from("other"));
  for (const MetricShape shape : {MetricShape::kValue, MetricShape::kList, MetricShape::kRow, MetricShape::kTable}) {
    CHECK(metric_shape_from(to_string(shape)) == shape);
    CHECK(has_rows(shape) == (shape == MetricShape::kRow || shape == MetricShape::kTable));
  }
  for (const MetricFileType type :
       {MetricFileType::kImage, MetricFileType::kConfusionMatrix, MetricFileType::kAccuracyTable,
        MetricFileType::kResiduals, MetricFileType::kPredictions})
    CHECK(metric_file_type_from(to_string(type)) == type);
  CHECK_FALSE(metric_file_type_from("Image"));
}
