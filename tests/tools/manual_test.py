# SPDX-License-Identifier: MIT
"""The manual, --help and the completion say the same: each option of each command, and none that is not there."""
import glob
import os
import re
import shutil
import subprocess

from command import ENVIRONMENT, PROGRAM, ToolTest, main

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = os.path.join(ROOT, "docs", "man")
EXIT = re.compile(r"^ {2}([a-z]+) ", re.M)


def page(name):
    """A page may be for two commands; it has the first one's name."""
    for path in [os.path.join(PAGES, name + ".1"), *sorted(glob.glob(os.path.join(PAGES, "*.1")))]:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            if re.search(rf"^\.Nm {name}$", text, re.M) or path.endswith(f"/{name}.1"):
                return text
    raise AssertionError("there is no page for " + name)


def options_of(text):
    """Long and short options that --help lists."""
    text = text.split("\nExamples:")[0]
    return set(re.findall(r"^ *(?:-[A-Za-z], )?--([a-z-]+)", text, re.M)), set(re.findall(r"^ *-([A-Za-z]), ", text, re.M))


class Manual(ToolTest):
    def commands(self, *above):
        """All commands as lists of words, those of commands that have commands of their own too."""
        out, _ = self.tool(*above, "--help")
        if "\nCommands:\n" not in out:
            return [list(above)]
        listed = EXIT.findall(out.split("\nCommands:\n")[1].split("\n\n")[0])
        self.assertTrue(listed)
        return [words for name in listed for words in self.commands(*above, name)]

    def has(self, text, pattern, otherwise):
        self.assertTrue(re.search(pattern, text), otherwise)

    def test_every_option_is_in_the_manual(self):
        common = page("peapod")
        self.assertGreater(len(self.commands()), 3)
        said = {}
        for words in self.commands():
            name = "peapod-" + words[0]
            text = page(name)
            self.has(common, rf"\.Xr {name} 1", f"peapod.1 does not name {name}.1")
            longs, shorts = options_of(self.tool(*words, "--help")[0])
            self.assertIn("help", longs)
            for option in longs:
                self.has(text + common, rf"\.(It|Op).*Fl -{option}\b(?!-)", f"{name}.1 does not have --{option}")
            for option in shorts:
                self.has(text + common, rf"\.It Fl {option} ,", f"{name}.1 does not have -{option}")
            more = said.setdefault(name, (set(), set()))
            more[0].update(longs)
            more[1].update(shorts)
        for name, (longs, shorts) in said.items():
            for option in re.findall(r"^\.It.*?Fl -([a-z-]+)", page(name), re.M):
                self.assertIn(option, longs, f"{name}.1 has --{option}, which is not there")
            for option in re.findall(r"^\.It Fl ([A-Za-z]) ,", page(name), re.M):
                self.assertIn(option, shorts, f"{name}.1 has -{option}, which is not there")

    def test_help(self):
        for words in self.commands():
            out, err = self.tool(*words, "--help")
            self.assertEqual(err, "")
            self.assertTrue(out.startswith("Usage: peapod " + " ".join(words) + " [OPTION...] "), out)
            self.assertIn("\nExamples:\n  peapod " + " ".join(words) + " ", out)
            self.assertEqual(self.tool("help", *words)[0], out)
            self.assertEqual(self.tool(*words, "-h")[0], out)

    def test_the_program_itself(self):
        out, _ = self.tool("--help")
        self.assertEqual(self.tool("help")[0], out)
        _, err = self.tool(status=2)
        self.assertEqual(err, out)
        self.assertRegex(self.tool("--version")[0], r"\Apeapod \d+\.\d+\.\d+ \(TLS: .*\)\n\Z")
        self.assertEqual(self.tool("-V"), self.tool("--version"))
        self.fails(2, "there is no command 'nonsense'", "nonsense")
        self.fails(2, "there is no command 'nonsense'", "help", "nonsense")
        self.fails(2, "there is no command '--nonsense'", "--nonsense")

    def test_pages(self):
        """As mandoc and groff read them, where they are here."""
        for path in sorted(glob.glob(os.path.join(PAGES, "*.1"))):
            if shutil.which("mandoc"):
                ran = subprocess.run(["mandoc", "-T", "lint", "-W", "style", path], capture_output=True, text=True, check=False)
                wrong = [line for line in ran.stdout.splitlines() if "referenced manual not found" not in line and "Xr" not in line]
                self.assertEqual(wrong, [])
            if shutil.which("groff"):
                ran = subprocess.run(["groff", "-man", "-mdoc", "-Tascii", "-ww", "-z", path], capture_output=True, text=True, check=False)
                self.assertEqual(ran.stderr, "")

    def completed(self, *words):
        script = """source "$1"; shift
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _peapod; printf '%s\\n' "${COMPREPLY[@]}" """
        completion = os.path.join(ROOT, "tools", "completion", "peapod.bash")
        ran = subprocess.run(["bash", "-c", script, "bash", completion, PROGRAM, *words], capture_output=True, text=True,
                             cwd=self.folder, env=ENVIRONMENT, check=True)
        return set(ran.stdout.split())

    def test_bash_completion(self):
        self.write("some.key", "")
        names = {words[0] for words in self.commands()}
        self.assertEqual(self.completed(""), names | {"help"})
        self.assertEqual(self.completed("trust", ""), {"lint", "check", "help"})
        for words in self.commands():
            longs, _ = options_of(self.tool(*words, "--help")[0])
            self.assertEqual(self.completed(*words, "--"), {"--" + option for option in longs})
        self.assertEqual(self.completed("probe", "--key", "so"), {"some.key"})
        self.assertEqual(self.completed("probe", "-k", "so"), {"some.key"})
        self.assertEqual(self.completed("trust", "check", "--at", ""), set())
        self.assertEqual(self.completed("id", "so"), {"some.key"})


if __name__ == "__main__":
    main()
