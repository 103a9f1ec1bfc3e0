// An event function: gets the event and its context, prints a line, returns a value.
exports.main_handler = async (event, context) => {
  const name = event.name ?? 'world'
  console.log(`greeting ${name} for request ${context.request_id}`)
  return { greeting: `Hello, ${name}!` }
}
