
# 3. every line is in canonical form and of this incident
jq -cS . entries.jsonl | cmp - entries.jsonl
incident=$(jq -r .incident export.json)
[ "$(jq -r .incident entries.jsonl | sort -u)" = "$incident" ]

# 4. the inclusion proof of each leads from the line to the root that the checkpoint states
follow() {  # INDEX LEAF; the path on standard input
  local p=$1 last=$((size - 1)) hash=$2 sibling
  while read -r sibling; do
    sibling=$(printf '%s' "$sibling" | base64 -d | hex)
    if [ $((p & 1)) -eq 1 ] || [ "$p" -eq "$last" ]; then
      hash=$(node "$sibling" "$hash")
      while [ $((p & 1)) -eq 0 ] && [ "$p" -ne 0 ]; do p=$((p >> 1)) last=$((last >> 1)); done
    else
      hash=$(node "$hash" "$sibling")
    fi
    p=$((p >> 1)) last=$((last >> 1))
  done
  [ "$last" -eq 0 ] && printf '%s\n' "$hash"
}
while IFS= read -r line; do
  seq=$(printf '%s' "$line" | jq .seq)
  proof=proofs/$(printf '%012d' "$seq").tlog-proof
  [ "$(sed -n 2p "$proof")" = "index $seq" ]
  [ "$(sed -n '3,/^$/p' "$proof" | sed '/^$/d' | follow "$seq" "$(leaf "$line")")" = "$signed" ]
done < entries.jsonl

# 5. they are numbered 0, 1, 2, ... and the closing entry counts them: none is left out
count=$(wc -l < entries.jsonl)
jq .inc_seq entries.jsonl | cmp - <(seq 0 $((count - 1)))
jq -se 'any(.type == "incident.close" and .body.entries == .inc_seq + 1)' entries.jsonl > /dev/null
echo "incident $incident: $count entries, complete to its closing, as signed"
