# SPDX-License-Identifier: MIT
# bash completion for peapod(1). It asks the program itself: commands and options are those of `--help`.

_peapod() {
    local cur prev words cword
    _get_comp_words_by_ref -n : cur prev words cword 2>/dev/null || {
        cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    }
    local program=${words[0]} command=() help i
    help=$("$program" --help 2>/dev/null)
    # Down to the command that is being written: `peapod trust check`.
    for ((i = 1; i < cword; i++)); do
        [[ $help == *$'\nCommands:\n'* && $help == *$'\n  '"${words[i]} "* ]] || break
        command+=("${words[i]}")
        help=$("$program" "${command[@]}" --help 2>/dev/null)
    done
    # What an option wants: the word behind it in --help.
    local takes
    takes=$(sed -nE "s/^ *(-[A-Za-z], )?(--[a-z-]+)[= ]([A-Z]+)\b.*/\1\2 \3/p" <<<"$help" | tr -d , |
        awk -v option="$prev" '$1 == option || $2 == option { print $NF }')
    if [[ $takes == FILE || $takes == DIR ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    elif [[ -n $takes ]]; then
        COMPREPLY=()
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(sed -nE 's/^ *(-[A-Za-z], )?(--[a-z-]+).*/\2/p' <<<"${help%%$'\nExamples:'*}")" -- "$cur")
    elif [[ $help == *$'\nCommands:\n'* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' <<<"$help") help" -- "$cur")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
} && complete -F _peapod peapod
