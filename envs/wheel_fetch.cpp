#include "envs/wheel_fetch.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "envs/artefact_name.hpp"
#include "envs/pip_files.hpp"
#include "envs/specification_files.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

// argv: a JSON file [{"url", "address", "userInfo", "file"}]; the address has a query's credentials. Credentials never
// reach a message.
constexpr const char* kFetch = R"PYTHON(
import base64, json, netrc, os, shutil, sys, urllib.parse, urllib.request
try:
    known = netrc.netrc()
except Exception:
    known = None
with open(sys.argv[1]) as stream:
    wanted = json.load(stream)
for one in wanted:
    url, user_info = one["url"], urllib.parse.unquote(one["userInfo"])
    host = urllib.parse.urlsplit(url).hostname
    if not user_info and known and known.authenticators(host):
        login, _, password = known.authenticators(host)
        user_info = login + ":" + password
    request = urllib.request.Request(one["address"])
    if user_info:
        # Not sent on to where a redirection leads.
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(user_info.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer, open(one["file"] + ".part", "wb") as stream:
            shutil.copyfileobj(answer, stream, 1 << 20)
        os.rename(one["file"] + ".part", one["file"])
        print("fetched", url)
    except Exception as error:
        print("could not fetch", url, type(error).__name__, error)
)PYTHON";

std::string user_info_of(std::string_view url) {
  const auto begin = url.find("://");
  if (begin == std::string_view::npos) return {};
  const auto authority = url.substr(begin + 3, url.find_first_of("/?#", begin + 3) - begin - 3);
  const auto at = authority.rfind('@');
  return at == std::string_view::npos ? "" : std::string(authority.substr(0, at));
}

std::string without_user_info(const std::string& url) {
  const auto begin = url.find("://") + 3;
  return origin_of(url) + url.substr(std::min(url.find_first_of("/?#", begin), url.size()));
}

// Origin → "user:password", of everything that has credentials for it.
std::map<std::string, std::string> known_user_infos(const Specification& specification, const BuildSettings& settings) {
  std::map<std::string, std::string> known;
  const auto add = [&](const std::string& url) {
    if (const std::string info = user_info_of(url); !info.empty()) known.emplace(origin_of(url), info);
  };
  for (const auto& [url, full] : settings.credentials) add(full);
  for (const std::string& option : specification.pip_options)
    add(expanded(pip_option(option).value, settings.variables));
  for (const std::string& one : specification.pip) add(expanded(url_of_requirement(one), settings.variables));
  for (const char* name : {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"})
    if (const auto value = settings.variables.find(name); value != settings.variables.end())
      for (std::size_t begin = 0; begin < value->second.size();) {
        const auto end = std::min(value->second.find(' ', begin), value->second.size());
        const std::string url = value->second.substr(begin, end - begin);
        add(url.substr(url.find('=') < url.find("://") ? url.find('=') + 1 : 0));  // uv's NAME=URL
        begin = end + 1;
      }
  return known;
}

}  // namespace

std::string origin_of(std::string_view url) {
  const auto begin = url.find("://");
  if (begin == std::string_view::npos) return {};
  const auto authority = url.substr(begin + 3, url.find_first_of("/?#", begin + 3) - begin - 3);
  return std::string(url.substr(0, begin + 3)) + std::string(authority.substr(authority.rfind('@') + 1));
}

void fetch_files(const std::vector<LockedPackage>& packages, const fs::path& into, const fs::path& python,
                 const Specification& specification, const BuildSettings& settings, BuildConsole& console) {
  os::make_directories(into);
  const auto known = known_user_infos(specification, settings);
  nlohmann::json wanted = nlohmann::json::array();
  for (const LockedPackage& package : packages) {
    if (!is_archive(file_name_of(package.url)) || path_of_file_url(package.url)) continue;
    const auto info = known.find(origin_of(package.url));
    const std::string asked = asked_url(package.url, specification, settings);
    wanted.push_back({{"url", package.url},
                      {"address", without_user_info(asked.empty() ? package.url : asked)},
                      {"userInfo", info == known.end() ? "" : info->second},
                      {"file", (into / file_name_of(package.url)).string()}});
  }
  if (wanted.empty()) return;
  const fs::path list = write_lines(console.scratch(), "fetch.json", {wanted.dump()});
  const Tool fetch{.name = "python",
                   .arguments = {python.string(), "-c", kFetch, list.string()},
                   .variables = pip_variables(settings, console.scratch()),
                   .directory = {}};
  if (console.run(fetch) != 0)
    console.write("some packages have no copy: a build from the lock may need the network\n");
}

}  // namespace runner::envs
