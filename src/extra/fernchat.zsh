#compdef fernchat
# Completion of fernchat's command line for zsh.

local -a terminal=(
  '--history[keeps what was typed]:file:_files'
  '--log[keeps what is shown]:file:_files'
  '--color[whether there are colours]:when:(auto always never)'
  '(--no-time)--time[the time in front of each line]'
  '(--time)--no-time[no time in front of each line]'
  '--bell[rings at a mention]'
  '--help[tells more]'
)

local -a client=(
  '--name[the user name]:name:' '--group[the group]:group:' '--downloads[where received files go]:folder:_files -/'
  '--max-receive[the largest file that is kept]:size:' '--accept[ask about longer files]:size:(all none)' '--identity[the key pair that proves your name]:file:_files'
  '--no-reconnect[end when the connection breaks]' '--secret-file[the secret of a closed server]:file:_files'
  '--room-key-file[a key that the server lacks]:file:_files'
)

if (( CURRENT == 2 )); then
  _values 'command' 'server[run a group chat'\''s server]' 'client[join a group chat]' 'find[list the servers on this network]' 'relay[run a relay]' \
    'relay-client[talk over a relay]' 'window[chat on a page in the browser]' 'keygen[make a key]' 'token[show what is in a token]' '--help[tells more]' '--version[prints the version]'
  return
fi

local command=$words[2]
shift words
(( CURRENT-- ))
case $command in
  server)
    _arguments '1:host:_hosts' '2:port:' '--max-clients[at most so many clients]:number:' '--memory[the memory for what is held for clients]:size:' '--max-file[the largest file]:size:' \
      '--python-file-limit[the largest file for a Python client]:size:' '--backlog[lines kept for members that are offline]:number:' '--spool[where shared files lie]:folder:_files -/' '--state[keeps the groups over a restart]:file:_files' \
      '--secret-file[a closed server]:file:_files' '--no-announce[no announcement on the network]' '--help[tells more]'
    ;;
  client)
    _arguments '1:host:_hosts' '2:port:' $client '--no-news[do not show who comes and goes]' $terminal
    ;;
  window)
    _arguments '1:host:_hosts' '2:port:' '--no-open[open no browser]' $client '--help[tells more]'
    ;;
  relay)
    _arguments '1:address:_hosts' '2:port:' '--max-clients[at most so many clients]:number:' '--memory[the memory for what is held for clients]:size:' \
      '--pause[the least time between two messages]:milliseconds:' '--no-announce[no announcement on the network]' '--help[tells more]'
    ;;
  relay-client)
    _arguments '1:host:_hosts' '2:port:' '--key-file[the key]:file:_files' '--name[the name]:name:' '--no-reconnect[end when the connection breaks]' $terminal
    ;;
  token) _arguments '1:token:' '--key-file[the key]:file:_files' '--help[tells more]' ;;
  find) _arguments '--help[tells more]' ;;
  keygen) _arguments '1:file:_files' '--help[tells more]' ;;
esac
