// What lies in the page packed by gzip, as text.
const unpacked = async (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};
// Calls a function once for each element that comes near the window, and for all before the page is printed.
const whenNear = (elements, act) => {
  const waiting = new Set(elements);
  const once = (element) => waiting.delete(element) && act(element);
  const watch = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          watch.unobserve(entry.target);
          once(entry.target);
        }
      }
    },
    { rootMargin: "800px" },
  );
  for (const element of elements) watch.observe(element);
  addEventListener("beforeprint", () => elements.forEach(once));
};

whenNear([...document.querySelectorAll("img[data-packed]")], async (image) => {
  const drawing = await unpacked(image.dataset.packed);
  image.src = URL.createObjectURL(new Blob([drawing], { type: "image/svg+xml" }));
});
