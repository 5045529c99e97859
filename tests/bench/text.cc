#include "text.h"

#include <algorithm>
#include <cmath>

namespace bwbench {
namespace {

void print_row(const std::vector<std::string> &cells, const std::vector<std::size_t> &widths, bool markdown) {
  std::string line = markdown ? "|" : "";
  for (std::size_t column = 0; column < cells.size(); ++column) {
    const std::string padding(widths[column] - cells[column].size(), ' ');
    line += markdown ? " " + cells[column] + padding + " |" : cells[column] + padding + "  ";
  }
  line.erase(line.find_last_not_of(' ') + 1);
  std::printf("%s\n", line.c_str());
}

} // namespace

std::string number(double value) {
  const double size = std::fabs(value);
  const int decimals = value == std::floor(value) || size >= 100 ? 0 : size >= 10 ? 1 : 2;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

void print_table(const Table &table, bool markdown) {
  std::vector<std::size_t> widths;
  std::vector<std::string> rule;
  for (std::size_t column = 0; column < table.head.size(); ++column) {
    std::size_t width = table.head[column].size();
    for (const auto &row : table.rows) width = std::max(width, row[column].size());
    widths.push_back(width);
    rule.emplace_back(width, '-');
  }
  std::printf(markdown ? "\n### %s\n\n" : "\n%s\n\n", table.title.c_str());
  print_row(table.head, widths, markdown);
  print_row(rule, widths, markdown);
  for (const auto &row : table.rows) print_row(row, widths, markdown);
}

void Json::open(std::string_view key, char bracket) {
  begin(key);
  std::fputc(bracket, file_);
  brackets_ += bracket == '{' ? '}' : ']';
  first_ = true;
}

void Json::close() {
  const char bracket = brackets_.back();
  brackets_.pop_back();
  std::fprintf(file_, "\n%*s%c", static_cast<int>(2 * brackets_.size()), "", bracket);
  if (brackets_.empty()) std::fputc('\n', file_);
  first_ = false;
}

void Json::add(std::string_view key, std::string_view text) {
  begin(key);
  quote(text);
}

void Json::add(std::string_view key, double value) {
  begin(key);
  std::fprintf(file_, "%.10g", value);
}

void Json::begin(std::string_view key) {
  if (!brackets_.empty()) {
    std::fprintf(file_, "%s\n%*s", first_ ? "" : ",", static_cast<int>(2 * brackets_.size()), "");
  }
  first_ = false;
  if (key.empty()) return;
  quote(key);
  std::fputs(": ", file_);
}

void Json::quote(std::string_view text) {
  std::fputc('"', file_);
  for (const char letter : text) {
    if (static_cast<unsigned char>(letter) < 0x20) {
      std::fprintf(file_, "\\u%04x", letter);
    } else {
      if (letter == '"' || letter == '\\') std::fputc('\\', file_);
      std::fputc(letter, file_);
    }
  }
  std::fputc('"', file_);
}

} // namespace bwbench
