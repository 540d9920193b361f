#include "envs/build_variables.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "envs/conda_channel.hpp"
#include "envs/credentials.hpp"

namespace runner::envs {
namespace {

std::string upper(std::string_view name) {
  std::string text(name);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

bool decides_sources(std::string_view given) {
  // What activating an environment sets says nothing about where another one's packages come from.
  constexpr std::array<std::string_view, 6> kOfActivation{"CONDA_PREFIX",          "CONDA_SHLVL", "CONDA_DEFAULT_ENV",
                                                          "CONDA_PROMPT_MODIFIER", "CONDA_EXE",   "CONDA_PYTHON_EXE"};
  const std::string name = upper(given);
  if (std::find(kOfActivation.begin(), kOfActivation.end(), name) != kOfActivation.end()) return false;
  return name.starts_with("PIP_") || name.starts_with("UV_") || name.starts_with("CONDA_") || name == "CONDARC" ||
         name.starts_with("MAMBA_") || name.ends_with("_PROXY") || name.starts_with("SSL_CERT_") ||
         name == "REQUESTS_CA_BUNDLE" || name == "CURL_CA_BUNDLE";
}

// uv's users of indexes are tokens as often as names.
bool is_secret(std::string_view name) { return is_called_secret(name) || upper(name).ends_with("_USERNAME"); }

// Words that are URLs, or uv's "name=URL", lose their credentials; what is between them stays.
std::string stripped(std::string_view value, bool& had_credentials) {
  constexpr std::string_view kBetween = " \t\r\n,";
  std::string text;
  while (!value.empty()) {
    const auto end = std::min(value.find_first_of(kBetween), value.size());
    std::string_view word = value.substr(0, end);
    if (const auto scheme = word.find("://"); scheme != std::string_view::npos) {
      const auto equals = word.substr(0, scheme).rfind('=');
      const auto begin = equals == std::string_view::npos ? 0 : equals + 1;
      const StrippedUrl url = without_channel_credentials(word.substr(begin));
      had_credentials = had_credentials || url.had_credentials;
      text.append(word.substr(0, begin)).append(url.url);
    } else {
      text.append(word);
    }
    const auto next = std::min(value.find_first_not_of(kBetween, end), value.size());
    text.append(value.substr(end, next - end));
    value.remove_prefix(next);
  }
  return text;
}

}  // namespace

KeptVariables keep_build_variables(const Variables& caller) {
  KeptVariables kept;
  for (const auto& [name, value] : caller) {
    if (!decides_sources(name)) continue;
    if (is_secret(name)) {
      kept.withheld.push_back(name);
      continue;
    }
    bool had_credentials = false;
    kept.values.emplace(name, stripped(value, had_credentials));
    if (had_credentials) kept.withheld.push_back(name);
  }
  return kept;
}

RestoredVariables restore_build_variables(const Variables& own, const KeptVariables& kept) {
  RestoredVariables restored;
  for (const auto& [name, value] : own)
    if (!decides_sources(name)) restored.variables.emplace(name, value);
  for (const auto& [name, value] : kept.values) restored.variables.emplace(name, value);
  for (const std::string& name : kept.withheld) {
    const auto mine = own.find(name);
    const auto as_kept = kept.values.find(name);
    bool ignored = false;
    if (mine != own.end() && (as_kept == kept.values.end() || stripped(mine->second, ignored) == as_kept->second))
      restored.variables[name] = mine->second;
    else
      restored.missing.push_back(name);
  }
  return restored;
}

}  // namespace runner::envs
