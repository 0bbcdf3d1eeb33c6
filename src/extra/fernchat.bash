# Completion of fernchat's command line for bash.

_fernchat() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=
  local terminal='--history --log --color --time --no-time --bell --help'
  local client='--name --group --downloads --max-receive --accept --identity --no-reconnect --secret-file --room-key-file'
  COMPREPLY=()
  case $before in
    --downloads | --spool) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
    --history | --log | --identity | --state | --key-file | --secret-file | --room-key-file) compopt -o default && return ;;
    --color) words='auto always never' ;;
    --max-clients | --memory | --max-file | --python-file-limit | --max-receive | --accept | --backlog | --pause | --name | --group) return ;;
    *)
      case $COMP_CWORD:${COMP_WORDS[1]} in
        1:*) words='server client find relay relay-client window keygen token --help --version' ;;
        *:server) words='--max-clients --memory --max-file --python-file-limit --backlog --spool --state --secret-file --no-announce --help' ;;
        *:client) words="$client --no-news $terminal" ;;
        *:window) words="--no-open $client --help" ;;
        *:relay) words='--max-clients --memory --pause --no-announce --help' ;;
        *:relay-client) words="--key-file --name --no-reconnect $terminal" ;;
        *:token) words='--key-file --help' ;;
        *:find) words='--help' ;;
        *:keygen) compopt -o default && words='--help' ;;
      esac
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _fernchat fernchat
