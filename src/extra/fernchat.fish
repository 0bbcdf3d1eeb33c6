# Completion of fernchat's command line for fish.

complete -c fernchat -f
complete -c fernchat -l help -d 'tells more'
complete -c fernchat -n __fish_use_subcommand -l version -d 'prints the version'
complete -c fernchat -n __fish_use_subcommand -a server -d "run a group chat's server"
complete -c fernchat -n __fish_use_subcommand -a client -d 'join a group chat'
complete -c fernchat -n __fish_use_subcommand -a find -d 'list the servers on this network'
complete -c fernchat -n __fish_use_subcommand -a relay -d 'run a relay'
complete -c fernchat -n __fish_use_subcommand -a relay-client -d 'talk over a relay'
complete -c fernchat -n __fish_use_subcommand -a window -d 'chat on a page in the browser'
complete -c fernchat -n __fish_use_subcommand -a keygen -d 'make a key'
complete -c fernchat -n __fish_use_subcommand -a token -d 'show what is in a token'

set -l server '__fish_seen_subcommand_from server'
complete -c fernchat -n $server -l max-file -x -d 'the largest file'
complete -c fernchat -n $server -l python-file-limit -x -d 'the largest file for a Python client'
complete -c fernchat -n $server -l backlog -x -d 'lines kept for members that are offline'
complete -c fernchat -n $server -l state -rF -d 'keeps the groups over a restart'
complete -c fernchat -n $server -l spool -x -a '(__fish_complete_directories)' -d 'where shared files lie'

set -l relay '__fish_seen_subcommand_from relay'
complete -c fernchat -n $relay -l pause -x -d 'the least time between two messages'
complete -c fernchat -n '__fish_seen_subcommand_from server relay' -l memory -x -d 'the memory for what is held for clients'
complete -c fernchat -n '__fish_seen_subcommand_from server relay' -l no-announce -d 'no announcement on the network'
complete -c fernchat -n '__fish_seen_subcommand_from server relay' -l max-clients -x -d 'at most so many clients'

set -l client '__fish_seen_subcommand_from client window'
complete -c fernchat -n $client -l group -x -d 'the group'
complete -c fernchat -n $client -l downloads -x -a '(__fish_complete_directories)' -d 'where received files go'
complete -c fernchat -n $client -l max-receive -x -d 'the largest file that is kept'
complete -c fernchat -n $client -l accept -x -a 'all none' -d 'ask about longer files'
complete -c fernchat -n $client -l identity -rF -d 'the key pair that proves your name'
complete -c fernchat -n '__fish_seen_subcommand_from client relay-client' -l no-reconnect -d 'end when the connection breaks'
complete -c fernchat -n '__fish_seen_subcommand_from client' -l no-news -d 'do not show who comes and goes'
complete -c fernchat -n $client -l room-key-file -r -F -d 'a key that the server lacks'
complete -c fernchat -n '__fish_seen_subcommand_from server client window' -l secret-file -r -F -d 'the secret of a closed server'
complete -c fernchat -n '__fish_seen_subcommand_from relay-client token' -l key-file -r -F -d 'the key'

complete -c fernchat -n '__fish_seen_subcommand_from window' -l no-open -d 'open no browser'

set -l clients '__fish_seen_subcommand_from client relay-client'
complete -c fernchat -n '__fish_seen_subcommand_from client relay-client window' -l name -x -d 'the name'
complete -c fernchat -n $clients -l history -r -F -d 'keeps what was typed'
complete -c fernchat -n $clients -l log -r -F -d 'keeps what is shown'
complete -c fernchat -n $clients -l color -x -a 'auto always never' -d 'whether there are colours'
complete -c fernchat -n $clients -l time -d 'the time in front of each line'
complete -c fernchat -n $clients -l no-time -d 'no time in front of each line'
complete -c fernchat -n $clients -l bell -d 'rings at a mention'
complete -c fernchat -n '__fish_seen_subcommand_from keygen' -F
