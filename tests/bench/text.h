// Numbers, tables and JSON as text.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace bwbench {

std::string number(double value); // three digits that matter, at most three after the point

struct Table {
  std::string title;
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows; // each as long as `head`
};
void print_table(const Table &table, bool markdown);

// Writes one JSON value; commas, indents and quotes are its affair. An empty key is for values in an array.
class Json {
 public:
  explicit Json(std::FILE *file) : file_(file) {}
  void open(std::string_view key, char bracket); // '{' or '['
  void close();
  void add(std::string_view key, std::string_view text);
  void add(std::string_view key, const char *text) { add(key, std::string_view(text)); }
  void add(std::string_view key, double value);

 private:
  void begin(std::string_view key);
  void quote(std::string_view text);

  std::FILE *file_;
  std::string brackets_; // those that will close what is open
  bool first_ = true;    // nothing yet in the innermost
};

} // namespace bwbench
