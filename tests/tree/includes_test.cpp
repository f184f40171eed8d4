// The arrows between folders, checked on the sources themselves.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace {

namespace fs = std::filesystem;

// Which folders a folder may include: core ← program ← cost ← sim ← planner ← app ← {cli, gui}; program ← executor ← profiler ← app; cost ← profiler.
const std::map<std::string, std::set<std::string>> kMayInclude{
    {"core", {"core"}},
    {"program", {"core", "program"}},
    {"cost", {"core", "program", "cost"}},
    {"sim", {"core", "program", "cost", "sim"}},
    {"planner", {"core", "program", "cost", "sim", "planner"}},
    {"executor", {"core", "program", "executor"}},
    {"profiler", {"core", "program", "cost", "executor", "profiler"}},
    {"app", {"core", "program", "cost", "sim", "planner", "executor", "profiler", "app"}},
    {"cli", {"core", "program", "cost", "sim", "planner", "executor", "profiler", "app", "cli"}},
    {"gui", {"core", "program", "cost", "sim", "planner", "executor", "profiler", "app", "gui"}},
};

template <class Visit>
void for_each_source(Visit&& visit) {
  for (const auto& [folder, allowed] : kMayInclude) {
    const fs::path root = fs::path(ORRERY_SOURCE_DIR) / folder;
    if (!fs::exists(root)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu") continue;
      std::ifstream in(entry.path());
      std::stringstream text;
      text << in.rdbuf();
      visit(folder, allowed, entry.path(), text.str());
    }
  }
}

TEST(Includes, PointDownOnly) {
  const std::regex include(R"re(#include "([a-z]+)/)re");
  int seen = 0;
  for_each_source([&](const std::string& folder, const std::set<std::string>& allowed, const fs::path& path, const std::string& text) {
    for (std::sregex_iterator it(text.begin(), text.end(), include), end; it != end; ++it) {
      ++seen;
      EXPECT_TRUE(allowed.contains((*it)[1])) << path << " includes " << (*it)[1] << "/: " << folder << " may not";
    }
  });
  EXPECT_GT(seen, 50);  // the pattern still finds includes at all
}

TEST(Includes, JsonStopsAtTheEdge) {
  for_each_source([](const std::string&, const std::set<std::string>&, const fs::path& path, const std::string& text) {
    if (text.find("#include <nlohmann/json.hpp>") == std::string::npos) return;
    const std::string stem = path.stem().string();
    EXPECT_TRUE(path.extension() == ".cpp" && (stem.ends_with("_json") || stem.starts_with("json_"))) << path << " includes nlohmann's JSON";
  });
}

// What is computed for the window is tested without one.
TEST(Includes, ViewValuesKnowNoQt) {
  int seen = 0;
  for_each_source([&](const std::string& folder, const std::set<std::string>&, const fs::path& path, const std::string& text) {
    if (folder != "gui" || path.parent_path().filename() != "view") return;
    ++seen;
    EXPECT_EQ(text.find("#include <Q"), std::string::npos) << path << " includes Qt";
    EXPECT_FALSE(std::regex_search(text, std::regex(R"re(#include "gui/(?!view/))re"))) << path << " includes what has Qt";
  });
  EXPECT_GT(seen, 3);
}

TEST(Libraries, NeverExitAndNeverPrint) {
  const std::regex forbidden(R"re((^|[^_a-z.>])(exit|printf|puts)\(|std::(cout|cerr|exit|abort)|fmt::print\()re");
  for_each_source([&](const std::string& folder, const std::set<std::string>&, const fs::path& path, const std::string& text) {
    if (folder == "cli" || folder == "gui") return;
    std::istringstream lines(text);
    int number = 0;
    for (std::string line; std::getline(lines, line);) {
      ++number;
      if (const auto comment = line.find("//"); comment != std::string::npos) line.resize(comment);
      if (line.find('"') != std::string::npos || line.find("void abort(") != std::string::npos) continue;
      EXPECT_FALSE(std::regex_search(line, forbidden)) << path << ":" << number << ": " << line;
    }
  });
}

TEST(Folders, SayWhatTheyAreInTwentyLines) {
  for (const auto& [folder, allowed] : kMayInclude) {
    const fs::path root = fs::path(ORRERY_SOURCE_DIR) / folder;
    if (!fs::exists(root)) continue;
    std::ifstream readme(root / "README.md");
    ASSERT_TRUE(readme) << folder << " has no README.md";
    int lines = 0;
    for (std::string line; std::getline(readme, line);) ++lines;
    EXPECT_LE(lines, 20) << folder << "/README.md";
  }
}

}  // namespace
