#include "runner/pipeline/configuration.hpp"

#include <toml++/toml.h>
#include <cstdlib>

#include "runner/core/error.hpp"
#include "runner/core/time.hpp"
#include "runner/os/file.hpp"

namespace runner::pipeline {
namespace {

Error wrong(const std::filesystem::path& file, const toml::source_region& where, const std::string& why) {
  return Error(ErrorCode::kInvalid, file.string() + ":" + std::to_string(where.begin.line) + ":" +
                                        std::to_string(where.begin.column) + ": " + why);
}

std::int64_t size_of(const std::filesystem::path& file, const toml::node& value, const std::string& key) {
  const auto text = value.value<std::string>();
  if (!text) throw wrong(file, value.source(), key + " must be a size such as \"10g\"");
  try {
    return parse_size(*text, key);
  } catch (const Error& error) {
    throw wrong(file, value.source(), error.message());
  }
}

std::chrono::milliseconds duration_of(const std::filesystem::path& file, const toml::node& value,
                                      const std::string& key) {
  const auto text = value.value<std::string>();
  if (!text) throw wrong(file, value.source(), key + " must be a duration such as \"2h\"");
  try {
    return parse_duration(*text, key);
  } catch (const Error& error) {
    throw wrong(file, value.source(), error.message());
  }
}

std::vector<std::string> texts_of(const std::filesystem::path& file, const toml::node& value, const std::string& what) {
  const toml::array* list = value.as_array();
  if (!list) throw wrong(file, value.source(), what);
  std::vector<std::string> texts;
  for (const toml::node& item : *list) {
    const auto text = item.value<std::string>();
    if (!text || text->empty()) throw wrong(file, item.source(), what);
    texts.push_back(*text);
  }
  return texts;
}

// A string for the shell, an exact command, or the word for a notification.
void read_on_end(const std::filesystem::path& file, const toml::node& value, OnEndRule& rule) {
  if (const auto text = value.value<std::string>()) {
    if (text->empty()) throw wrong(file, value.source(), "on_end must not be empty: leave it out");
    rule.notify = *text == "notify";
    if (!rule.notify) rule.command = {"/bin/sh", "-c", *text};
    return;
  }
  const toml::array* list = value.as_array();
  if (list)
    for (const toml::node& item : *list)
      if (const auto word = item.value<std::string>()) rule.command.push_back(*word);
  if (!list || list->empty() || rule.command.size() != list->size())
    throw wrong(file, value.source(), "on_end must be \"notify\", a shell command, or a command as a list of strings");
}

LaptopAction action_of(const std::filesystem::path& file, const toml::node& value, const std::string& key) {
  const auto text = value.value<std::string>();
  for (const auto& [word, action] :
       {std::pair{"run", LaptopAction::kRun}, {"hold", LaptopAction::kHold}, {"freeze", LaptopAction::kFreeze}})
    if (text == word) return action;
  throw wrong(file, value.source(), key + " must be \"run\", \"hold\" or \"freeze\"");
}

void read_laptop(const std::filesystem::path& file, const toml::node& value, LaptopRules& rules) {
  const toml::table* table = value.as_table();
  if (!table) throw wrong(file, value.source(), "laptop must be a table: [laptop]");
  for (const auto& [name, setting] : *table) {
    const std::string key = "laptop." + std::string(name.str());
    if (name == "on_battery") {
      rules.on_battery = action_of(file, setting, key);
    } else if (name == "hot") {
      rules.hot = action_of(file, setting, key);
    } else if (name == "busy") {
      rules.busy = action_of(file, setting, key);
    } else if (name == "every") {
      rules.every = duration_of(file, setting, key);
      if (rules.every < std::chrono::milliseconds{100})
        throw wrong(file, setting.source(), key + " must be at least 100ms");
    } else if (name == "calm") {
      rules.calm = duration_of(file, setting, key);
    } else {
      throw wrong(file, setting.source(), "unknown key '" + key + "'");
    }
  }
}

}  // namespace

std::filesystem::path default_configuration_file() {
  if (const char* base = std::getenv("XDG_CONFIG_HOME"); base && *base == '/')
    return std::filesystem::path(base) / "runner" / "config.toml";
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home ? home : "/") / ".config" / "runner" / "config.toml";
}

Configuration load_configuration(const std::filesystem::path& file) {
  Configuration configuration;
  const auto text = os::read_file_if_exists(file, 1 << 20);
  if (!text) return configuration;
  toml::table table;
  try {
    table = toml::parse(*text);
  } catch (const toml::parse_error& error) {
    throw wrong(file, error.source(), std::string(error.description()));
  }
  for (const auto& [key, value] : table) {
    if (key == "parallel") {
      const auto parallel = value.value<std::int64_t>();
      if (!parallel || *parallel < 1 || *parallel > 1024)
        throw wrong(file, value.source(), "parallel must be a whole number from 1 to 1024");
      configuration.parallel = static_cast<int>(*parallel);
    } else if (key == "cpus") {
      const auto cpus = value.value<double>();
      if (!cpus || !(*cpus >= 0.01) || *cpus > 100'000)
        throw wrong(file, value.source(), "cpus must be a number from 0.01");
      configuration.millicpus = static_cast<std::int64_t>(*cpus * 1000);
    } else if (key == "memory") {
      configuration.memory_bytes = size_of(file, value, "memory");
    } else if (key == "checkout_cache") {
      configuration.checkout_bytes = size_of(file, value, "checkout_cache");
    } else if (key == "checkout_count") {
      const auto count = value.value<std::int64_t>();
      if (!count || *count < 0 || *count > 100'000)
        throw wrong(file, value.source(), "checkout_count must be a whole number from 0 to 100000");
      configuration.checkout_count = static_cast<int>(*count);
    } else if (key == "environment_cache") {
      configuration.environment_bytes = size_of(file, value, "environment_cache");
    } else if (key == "environment_age") {
      configuration.environment_age = duration_of(file, value, "environment_age");
    } else if (key == "build_limit") {
      configuration.build_limit = duration_of(file, value, "build_limit");
    } else if (key == "conda") {
      const auto path = value.value<std::string>();
      if (!path || !path->starts_with('/')) throw wrong(file, value.source(), "conda must be an absolute path");
      configuration.conda = *path;
    } else if (key == "cache_dirs") {
      configuration.cache_directories = texts_of(file, value, "cache_dirs must be a list of paths");
    } else if (key == "gpus") {
      configuration.gpus = texts_of(file, value, "gpus must be a list of ids such as [\"0\", \"1\"]");
    } else if (key == "runs_per_gpu") {
      const auto runs = value.value<std::int64_t>();
      if (!runs || *runs < 1 || *runs > 64)
        throw wrong(file, value.source(), "runs_per_gpu must be a whole number from 1 to 64");
      configuration.runs_per_gpu = static_cast<int>(*runs);
    } else if (key == "cdi_dirs") {
      configuration.cdi_directories.clear();
      for (const std::string& directory : texts_of(file, value, "cdi_dirs must be a list of absolute paths")) {
        if (!directory.starts_with('/')) throw wrong(file, value.source(), "cdi_dirs must be a list of absolute paths");
        configuration.cdi_directories.emplace_back(directory);
      }
    } else if (key == "snapshot_warn_files") {
      const auto files = value.value<std::int64_t>();
      if (!files || *files < 1) throw wrong(file, value.source(), "snapshot_warn_files must be a whole number from 1");
      configuration.snapshot_warn_files = *files;
    } else if (key == "snapshot_warn_bytes") {
      configuration.snapshot_warn_bytes = size_of(file, value, "snapshot_warn_bytes");
    } else if (key == "keep_awake") {
      const auto keep = value.value<bool>();
      if (!keep || !value.is_boolean()) throw wrong(file, value.source(), "keep_awake must be true or false");
      configuration.keep_awake = *keep;
    } else if (key == "on_end") {
      read_on_end(file, value, configuration.on_end);
    } else if (key == "on_end_limit") {
      configuration.on_end.limit = duration_of(file, value, "on_end_limit");
    } else if (key == "laptop") {
      read_laptop(file, value, configuration.laptop);
    } else if (key == "max_log_size") {
      if (value.value<std::string>() == "unlimited")
        configuration.max_log_bytes.reset();
      else
        configuration.max_log_bytes = size_of(file, value, "max_log_size");
    } else {
      throw wrong(file, value.source(), "unknown key '" + std::string(key.str()) + "'");
    }
  }
  return configuration;
}

}  // namespace runner::pipeline
