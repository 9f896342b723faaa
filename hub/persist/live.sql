-- live_heard --
-- The newest glimpse of a node's running command; only of an order of its own that has no report
INSERT INTO live_output (node, order_id, step, undoing, output, total, at)
SELECT exec_order.node, exec_order.order_id, %(step)s, %(undoing)s, %(output)s, %(total)s, %(now)s
FROM exec_order
WHERE exec_order.order_id = %(order_id)s AND exec_order.node = %(node)s
  AND NOT EXISTS (
      SELECT 1 FROM report WHERE report.order_id = exec_order.order_id
      AND (report.body ->> 'undo_of' IS NOT NULL) = %(undoing)s
  )
ON CONFLICT (node) DO UPDATE SET
    order_id = excluded.order_id, step = excluded.step, undoing = excluded.undoing,
    output = excluded.output, total = excluded.total, at = excluded.at;

-- live_of --
-- The newest glimpse of an incident's running command, unless its report came since
SELECT live_output.step, live_output.undoing, live_output.output, live_output.total, live_output.at
FROM live_output JOIN exec_order USING (order_id)
WHERE exec_order.incident_id = %(incident_id)s
  AND NOT EXISTS (
      SELECT 1 FROM report WHERE report.order_id = live_output.order_id
      AND (report.body ->> 'undo_of' IS NOT NULL) = live_output.undoing
  );
