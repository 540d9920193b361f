package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// Lines {"rules": text, "paths": [...], "ignored": [bool], "error": bool}
func main() {
	seed := int64(1)
	n := 400
	fmt.Sscan(os.Args[1], &seed)
	fmt.Sscan(os.Args[2], &n)
	r := rand.New(rand.NewSource(seed))
	segs := []string{"a", "b", "ab", "foo", "foo.md", "bar.txt", ".git", "é", "a-b", "x+y", "a]b", "a*b", "a1"}
	pieces := []string{"a", "b", "foo", "*", "**", "?", "[a-b]", "[^a]", "*.md", ".txt", "/", "/", "\\*", ".", "..", "é", "**/", "/**", "[a", "]", "-", "+", "!", "^", "$", "(", "\\d", "[]a]", "[*]", "[\\-a]", "[[:alpha:]]", " ", "{"}
	path := func() string {
		k := 1 + r.Intn(4)
		var p []string
		for i := 0; i < k; i++ {
			p = append(p, segs[r.Intn(len(segs))])
		}
		return strings.Join(p, "/")
	}
	pattern := func() string {
		if r.Intn(2) == 0 {
			p := strings.Split(path(), "/")
			for i := range p {
				if r.Intn(3) == 0 {
					p[i] = []string{"*", "**", "?", "*.md", "a*", "[a-f]*"}[r.Intn(6)]
				}
			}
			return strings.Join(p, "/")
		}
		s := ""
		for i := 0; i < 1+r.Intn(5); i++ {
			s += pieces[r.Intn(len(pieces))]
		}
		return s
	}
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	for i := 0; i < n; i++ {
		text := ""
		for j := 0; j < 1+r.Intn(4); j++ {
			l := pattern()
			switch r.Intn(8) {
			case 0, 1:
				l = "!" + l
			case 2:
				l = "/" + l
			case 3:
				l = l + "/"
			case 4:
				l = "  " + l + "\t"
			case 5:
				if r.Intn(3) == 0 {
					l = "#" + l
				}
			}
			text += l + "\n"
		}
		type line struct {
			Rules   string   `json:"rules"`
			Paths   []string `json:"paths"`
			Ignored []bool   `json:"ignored"`
			Error   bool     `json:"error"`
		}
		o := line{Rules: text, Paths: []string{}, Ignored: []bool{}}
		ps, err := ignorefile.ReadAll(strings.NewReader(text))
		var pm *patternmatcher.PatternMatcher
		if err == nil {
			pm, err = patternmatcher.New(ps)
		}
		for k := 0; k < 12 && err == nil; k++ {
			p := path()
			var info patternmatcher.MatchInfo
			parts := strings.Split(p, "/")
			var ig bool
			for d := range parts {
				ig, info, err = pm.MatchesUsingParentResults(filepath.Join(parts[:d+1]...), info)
				if err != nil {
					break
				}
			}
			o.Paths = append(o.Paths, p)
			o.Ignored = append(o.Ignored, ig)
		}
		if err != nil {
			o.Error = true
			o.Paths, o.Ignored = []string{}, []bool{}
		}
		b, _ := json.Marshal(o)
		w.Write(b)
		w.WriteString("\n")
	}
}
