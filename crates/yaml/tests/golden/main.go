// Records what sigs.k8s.io/yaml makes of each text of cases.txt and of many plain scalars.
//
//	go run . > ../golden.json
package main

import (
	"encoding/json"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

type outcome struct {
	Text string          `json:"text"`
	JSON json.RawMessage `json:"json,omitempty"`
	// Why it is refused.
	Error string `json:"error,omitempty"`
}

func read(text string) outcome {
	content, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return outcome{Text: text, Error: err.Error()}
	}
	return outcome{Text: text, JSON: content}
}

// scalars puts signs, prefixes, digits and endings together, and adds the words that YAML knows.
func scalars() []string {
	all := []string{}
	for _, sign := range []string{"", "+", "-"} {
		for _, prefix := range []string{"", "0", "0x", "0X", "0b", "0B", "0o", "0O", ".", "00", "_"} {
			for _, digits := range []string{"", "0", "1", "7", "8", "9", "10", "17", "1F", "1_000", "_1", "1_", "101", "1e3", "1E3", "1e+3", "1e-3", "1.5", "1.", "1.5e3", "1e999", "1e", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "1:30", "190:20:30", "1,000", "5k", "100m", "300Mi"} {
				all = append(all, sign+prefix+digits)
			}
		}
	}
	for _, word := range []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "none", "nil", "t", "f", ".inf", "+.inf", "-.inf", ".nan", "inf", "nan", "infinity", "<<", "=", "2026-11-21", "2026-1-1", "2026-11-21T14:02:50Z", "2026-11-21 14:02:50", "2026-99-99", "2026-", "12:30", "12:30:45", "0.1.2", "1.2.3.4", "!", "a b", "a#b", "a: b"} {
		all = append(all, word, strings.ToUpper(word), strings.ToUpper(word[:1])+word[1:], strings.ToLower(word[:1])+strings.ToUpper(word[1:]))
	}
	return all
}

func main() {
	file, err := os.ReadFile("cases.txt")
	if err != nil {
		panic(err)
	}
	outcomes := []outcome{}
	for _, text := range strings.Split(string(file), "\n=====\n") {
		// What an editor would take away or show wrongly is spelt out.
		text = strings.NewReplacer("<TAB>", "\t", "<CR>", "\r", "<BEL>", "\a", "<BOM>", "\ufeff", "<NEL>", "\u0085").Replace(text)
		outcomes = append(outcomes, read(text+"\n"))
	}
	for _, scalar := range scalars() {
		outcomes = append(outcomes, read("a: "+scalar+"\n"))
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	os.Stdout.WriteString("[\n")
	for index, outcome := range outcomes {
		if index > 0 {
			os.Stdout.WriteString(",")
		}
		if err := encoder.Encode(outcome); err != nil {
			panic(err)
		}
	}
	os.Stdout.WriteString("]\n")
}
