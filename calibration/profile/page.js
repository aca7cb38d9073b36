for (const slider of document.querySelectorAll("input[type=range]")) {
  const wipe = slider.previousElementSibling;
  const move = () => wipe.style.setProperty("--at", slider.value + "%");
  slider.addEventListener("input", move);
  wipe.addEventListener("pointermove", event => {
    const box = wipe.getBoundingClientRect();
    slider.value = 100 * (event.clientX - box.left) / box.width;
    move();
  });
}
