// $XDG_CONFIG_HOME/runner/config.toml.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runner/pipeline/laptop.hpp"
#include "runner/pipeline/on_end.hpp"

namespace runner::pipeline {

struct Configuration {
  int parallel = 1;                              // runs at once without --cpus; 1: such a run takes the whole machine
  std::int64_t millicpus = 0;                    // that runs share; 0: the machine's
  std::int64_t memory_bytes = 0;                 // that runs with --memory share; 0: the machine's
  std::optional<std::vector<std::string>> gpus;  // that runs share, by id; absent: all that are found
  int runs_per_gpu = 1;                          // at the same time
  std::vector<std::filesystem::path> cdi_directories{"/etc/cdi", "/var/run/cdi"};
  std::int64_t checkout_bytes = std::int64_t{10} << 30;  // of real files of snapshots that nobody uses just now
  int checkout_count = 64;
  std::chrono::milliseconds build_limit{std::chrono::hours{2}};  // of one environment's build
  std::string conda;                                             // the conda client; empty: the first that is found
  std::int64_t environment_bytes = std::int64_t{20} << 30;       // of environments that no live run uses, after `gc`
  std::chrono::milliseconds environment_age{
      std::chrono::hours{24 * 60}};  // since the last use, after which `gc` evicts
  // Model caches below the user's home, bound read-only into runs when they exist.
  std::vector<std::string> cache_directories{".cache/torch", ".cache/huggingface", ".keras", "scikit_learn_data"};
  // A snapshot of so much new content is announced before it is copied, with what could be left out.
  std::int64_t snapshot_warn_files = 20'000;
  std::int64_t snapshot_warn_bytes = 300'000'000;
  // Of a run's output that are kept, where the run does not say; none: all.
  std::optional<std::int64_t> max_log_bytes = std::int64_t{10} << 30;
  bool keep_awake = true;  // no idle sleep while runs are live
  OnEndRule on_end;
  LaptopRules laptop;
};

// The file's values over the defaults; a missing file is the defaults. Error(kInvalid) with file, line and column for a
// file that does not parse or a key that is not known.
Configuration load_configuration(const std::filesystem::path& file);
std::filesystem::path default_configuration_file();

}  // namespace runner::pipeline
