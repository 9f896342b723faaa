
# 3. every line is in canonical form, and carries the hash of the one before it
jq -cS . seg/*.jsonl | cmp - <(cat seg/*.jsonl)
first=$(jq .first export.json)
cat seg/*.jsonl | while IFS= read -r line; do leaf "$line"; done > "$work/leaves"
jq -r .prev seg/*.jsonl | tail -n +2 | cmp - <(head -n -1 "$work/leaves")

# 4. before the first entry stand the trees that its inclusion proof has on the left
declare -A before
if [ "$first" -gt 0 ]; then
  proof=proofs/$(printf '%012d' "$first").tlog-proof
  cmp "$proof" <(sed '/^$/q' "$proof"; cat checkpoint)
  p=$first last=$((size - 1)) width=1
  while read -r sibling; do
    if [ $((p & 1)) -eq 1 ] || [ "$p" -eq "$last" ]; then
      while [ $((p & 1)) -eq 0 ]; do p=$((p >> 1)) last=$((last >> 1)) width=$((width * 2)); done
      before[$(((p - 1) * width)),$width]=$(printf '%s' "$sibling" | base64 -d | hex)
    fi
    p=$((p >> 1)) last=$((last >> 1)) width=$((width * 2))
  done < <(sed -n '3,/^$/p' "$proof" | sed '/^$/d')
fi

# 5. with these, the leaves lead to the root that the checkpoint states, and there are as many as it says
root() {  # FIRST COUNT
  if [ -n "${before[$1,$2]:-}" ]; then printf '%s\n' "${before[$1,$2]}"; return; fi
  if [ "$2" -eq 1 ]; then sed -n "$(($1 - first + 1))p" "$work/leaves"; return; fi
  local k=1; while [ $((2 * k)) -lt "$2" ]; do k=$((2 * k)); done
  node "$(root "$1" "$k")" "$(root $(($1 + k)) $(($2 - k)))"
}
[ "$(wc -l < "$work/leaves")" -eq "$((size - first))" ]
[ "$(root 0 "$size")" = "$signed" ]
echo "entries $first to $((size - 1)), all there and as signed"
